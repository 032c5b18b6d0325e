# In: evaluations, metrics, words, swept tables and masks. Out: curves, words and confusions in figures/, PNG and PDF.

CURVES = evaluations(kinds=("cams",))
SWEPT = [name for name, table in CONFIG.tables.items() if table.sweeps]


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
        masks=path_of("segment_masks", "predictions", LAST, SEEDS[0]),
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
