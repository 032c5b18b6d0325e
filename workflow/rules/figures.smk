# In: CAMs, masks, prompts and words of `experiments`, first seed. Out: panels of pictures in figures/, PNG and PDF.


rule panel:
    """Image, truth, the CAMs of all variants, and the last variant's pseudo mask and segmentation."""
    input:
        manifest=rules.data.output.manifest,
        cams=[path_of("cams", "cams.h5", v, SEEDS[0]) for v in MAPPED],
        crf=path_of("crf", "masks", LAST, SEEDS[0]) if MAPPED else [],
        segment=path_of("segment_masks", "predictions", LAST, SEEDS[0]),
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
        segment=path_of("segment_masks", "predictions", LAST, SEEDS[0]),
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


rule heatmap:
    """Where in a picture the guide sees a class's name, its learned prompt and the one written by hand."""
    input:
        manifest=rules.data.output.manifest,
        guide=lambda wildcards: path_of("guide", "texts.safetensors", LAST),
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
        rules.confusion.output if CONFIG.data.val in MASKED_SPLITS else [],
        (
            [rules.framework.output, rules.prompts.output, rules.heatmap.output]
            if has_learned_prompts(LAST)
            else []
        ),
