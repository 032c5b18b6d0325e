# In: evaluations, words, CAMs, masks and metrics of `experiments`, first seed. Out: figures/, every one as PNG and PDF.

CURVES = evaluations(kinds=("cams",))
SWEPT = [name for name, table in CONFIG.tables.items() if table.sweeps]


rule panel:
    """Image, truth, the CAMs of all variants, and the last variant's pseudo mask and segmentation."""
    input:
        manifest=rules.data.output.manifest,
        cams=[path_of("cams", "cams.h5", v, SEEDS[0]) for v in MAPPED],
        crf=path_of("crf", "masks", LAST, SEEDS[0]) if MAPPED else [],
        segment=path_of("segment", "predictions", LAST, SEEDS[0]),
    output:
        png=figure("panel", "panel"),
        pdf=f"{BASE}/figures/panel.pdf",
    log:
        f"{BASE}/logs/figures/panel.log",
    benchmark:
        f"{BASE}/benchmarks/figures/panel.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_json("figures"),
        split=CONFIG.data.train,
        cams=lambda wildcards, input: named(zip(MAPPED, input.cams)),
        masks=lambda wildcards, input: named(
            [("pseudo mask", input.crf)] * bool(input.crf)
            + [("segmentation", input.segment)]
        ),
        code=code_digest("semples.stages.figures.panels"),
    shell:
        "exec python -m semples figures panel"
        " --config {params.settings:q}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --cams {params.cams:q}"
        " --masks {params.masks:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule framework:
    """The stages of the method on one image."""
    input:
        manifest=rules.data.output.manifest,
        cams=[path for _, path in stage_cams()],
        words=lambda wildcards: prompts_file(LAST, "words.csv"),
        crf=path_of("crf", "masks", LAST, SEEDS[0]) if MAPPED else [],
        segment=path_of("segment", "predictions", LAST, SEEDS[0]),
    output:
        png=figure("framework", "framework"),
        pdf=f"{BASE}/figures/framework.pdf",
    log:
        f"{BASE}/logs/figures/framework.log",
    benchmark:
        f"{BASE}/benchmarks/figures/framework.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_json("figures"),
        split=CONFIG.data.train,
        cams=named(stage_cams()),
        code=code_digest("semples.stages.figures.panels"),
    shell:
        "exec python -m semples figures framework"
        " --config {params.settings:q}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --cams {params.cams:q}"
        " --masks 'crf: pseudo mask'={input.crf:q} segment={input.segment:q}"
        " --words {input.words:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule comparison:
    """The CAMs of all variants on images chosen by a rule: random, best, worst."""
    input:
        manifest=rules.data.output.manifest,
        cams=[path_of("cams", "cams.h5", v, SEEDS[0]) for v in MAPPED],
    output:
        png=figure("comparison", "comparison"),
        pdf=f"{BASE}/figures/comparison.pdf",
    log:
        f"{BASE}/logs/figures/comparison.log",
    benchmark:
        f"{BASE}/benchmarks/figures/comparison.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=settings_json("figures"),
        split=CONFIG.data.train,
        threshold=PLAN.settings[LAST].crf.threshold.value,
        cams=lambda wildcards, input: named(zip(MAPPED, input.cams)),
        code=code_digest("semples.stages.figures.panels"),
    shell:
        "exec python -m semples figures comparison"
        " --config {params.settings:q}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --cams {params.cams:q}"
        " --threshold {params.threshold}"
        " --out {output.png:q}"
        " &> {log:q}"


rule thresholds:
    """mIoU over the background threshold, a line a variant."""
    input:
        [path for *_, path in CURVES],
    output:
        png=figure("thresholds", "thresholds"),
        pdf=f"{BASE}/figures/thresholds.pdf",
    log:
        f"{BASE}/logs/figures/thresholds.log",
    benchmark:
        f"{BASE}/benchmarks/figures/thresholds.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        curves=of_runs(CURVES),
        code=code_digest("semples.stages.figures.curves"),
    shell:
        "exec python -m semples figures thresholds"
        " --evaluation {params.curves:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule training:
    """The loss of every trained stage over its epochs."""
    input:
        [path for _, path in learning_curves(SEEDS[0])],
    output:
        png=figure("training", "training"),
        pdf=f"{BASE}/figures/training.pdf",
    log:
        f"{BASE}/logs/figures/training.log",
    benchmark:
        f"{BASE}/benchmarks/figures/training.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        curves=named(learning_curves(SEEDS[0])),
        code=code_digest("semples.stages.figures.curves"),
    shell:
        "exec python -m semples figures training"
        " --metrics {params.curves:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule sensitivity:
    """mIoU over the settings that the tables sweep."""
    input:
        [f"{BASE}/tables/{table}.csv" for table in SWEPT],
    output:
        png=figure("sensitivity", "sensitivity"),
        pdf=f"{BASE}/figures/sensitivity.pdf",
    log:
        f"{BASE}/logs/figures/sensitivity.log",
    benchmark:
        f"{BASE}/benchmarks/figures/sensitivity.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_digest("semples.stages.figures.curves"),
    shell:
        "exec python -m semples figures sensitivity"
        " --tables {input:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule confusion:
    """Which class the segmentation gives the pixels of every class to."""
    input:
        manifest=rules.data.output.manifest,
        masks=path_of("segment", "predictions", LAST, SEEDS[0]),
    output:
        png=figure("confusion", "confusion"),
        pdf=f"{BASE}/figures/confusion.pdf",
    log:
        f"{BASE}/logs/figures/confusion.log",
    benchmark:
        f"{BASE}/benchmarks/figures/confusion.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        split=CONFIG.data.val,
        code=code_digest("semples.stages.figures.confusions"),
    shell:
        "exec python -m semples figures confusion"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --masks {input.masks:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule prompts:
    """The nouns nearest to the learned prompts, beside the words written by hand."""
    input:
        words=lambda wildcards: prompts_file(LAST, "words.csv"),
    output:
        png=figure("prompts", "prompts"),
        pdf=f"{BASE}/figures/prompts.pdf",
    log:
        f"{BASE}/logs/figures/prompts.log",
    benchmark:
        f"{BASE}/benchmarks/figures/prompts.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        manual=manual_words(),
        code=code_digest("semples.stages.figures.prompts"),
    shell:
        "exec python -m semples figures prompts"
        " --words {input.words:q}"
        " --manual {params.manual:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule heatmap:
    """Where in a picture the guide sees a class's name, its learned prompt and the one written by hand."""
    input:
        manifest=rules.data.output.manifest,
        guide=path_of("guide", "texts.safetensors", LAST),
        prompts=lambda wildcards: [path for _, path in shown_prompts()],
    output:
        png=figure("heatmap", "heatmap"),
        pdf=f"{BASE}/figures/heatmap.pdf",
    log:
        f"{BASE}/logs/figures/heatmap.log",
    benchmark:
        f"{BASE}/benchmarks/figures/heatmap.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        settings=settings_json("heatmap", LAST),
        split=CONFIG.data.train,
        guide=subpath(input.guide, parent=True),
        prompts=lambda wildcards: named(shown_prompts()),
        code=code_digest("semples.stages.heatmap"),
    shell:
        "exec python -m semples heatmap"
        " --config {params.settings:q}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --guide {params.guide:q}"
        " --names"
        " --prompts {params.prompts:q}"
        " --out {output.png:q}"
        " &> {log:q}"


rule figures:
    """All figures that the run's variants, tables and true masks allow."""
    input:
        rules.panel.output,
        rules.training.output,
        rules.comparison.output,
        rules.thresholds.output if CURVES else [],
        rules.sensitivity.output if SWEPT and CURVES else [],
        rules.confusion.output if CONFIG.data.val in JUDGED else [],
        (
            [rules.framework.output, rules.prompts.output, rules.heatmap.output]
            if has_learned_prompts(LAST)
            else []
        ),
