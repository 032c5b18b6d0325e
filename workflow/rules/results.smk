# In: evaluations, words, CAMs, masks and metrics of all variants. Out: tables/ and figures/ of the whole run.

EVALUATIONS = evaluations()
CURVES = evaluations(kinds=("cams",))
WORDS = prompt_words()
# the variant whose pseudo masks and segmentation are shown
LAST = (MAPPED or VARIANTS)[-1]


rule tables:
    """The numbers of all variants and seeds."""
    input:
        evaluations=[path for *_, path in EVALUATIONS],
        words=[path for *_, path in WORDS],
    output:
        results=report(
            f"{BASE}/tables/results.csv",
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "results"},
        ),
        page=report(
            f"{BASE}/tables/results.html",
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        classes=report(
            f"{BASE}/tables/classes.csv",
            caption="../report/classes.rst",
            category="Tables",
            labels={"table": "classes"},
        ),
        markdown=f"{BASE}/tables/results.md",
        words=f"{BASE}/tables/words.md",
    log:
        f"{BASE}/logs/tables.log",
    benchmark:
        f"{BASE}/benchmarks/tables.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        evaluations=of_runs(EVALUATIONS),
        words=of_runs(WORDS),
        note=table_note(),
        code=code_digest("semples.stages.tables"),
        out=subpath(output.results, parent=True),
    shell:
        "exec python -m semples tables"
        " --evaluation {params.evaluations:q}"
        " --words {params.words:q}"
        " --note {params.note:q}"
        " --out {params.out:q}"
        " &> {log:q}"


rule panel:
    """Image, truth, the CAMs of all variants, and the last variant's pseudo mask and segmentation."""
    input:
        manifest=rules.data.output.manifest,
        cams=[path_of("cams", "cams.h5", v, SEEDS[0]) for v in MAPPED],
        crf=path_of("crf", "masks", LAST, SEEDS[0]) if MAPPED else [],
        segment=path_of("segment", "predictions", LAST, SEEDS[0]),
    output:
        report(
            f"{BASE}/figures/panel.png",
            caption="../report/panel.rst",
            category="Figures",
            labels={"figure": "panel"},
        ),
    log:
        f"{BASE}/logs/figures/panel.log",
    benchmark:
        f"{BASE}/benchmarks/figures/panel.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=settings_json("figures"),
        split=CONFIG.data.train,
        cams=lambda wildcards, input: named(zip(MAPPED, input.cams)),
        masks=lambda wildcards, input: named(
            [("pseudo mask", input.crf)] * bool(input.crf)
            + [("segmentation", input.segment)]
        ),
        code=code_digest("semples.stages.figures"),
    shell:
        "exec python -m semples figures"
        " --panel"
        " --config {params.settings:q}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --cams {params.cams:q}"
        " --masks {params.masks:q}"
        " --out {output:q}"
        " &> {log:q}"


rule thresholds:
    """mIoU over the background threshold, a line a variant."""
    input:
        [path for _, seed, path in CURVES if seed == SEEDS[0]],
    output:
        report(
            f"{BASE}/figures/thresholds.png",
            caption="../report/thresholds.rst",
            category="Figures",
            labels={"figure": "thresholds"},
        ),
    log:
        f"{BASE}/logs/figures/thresholds.log",
    benchmark:
        f"{BASE}/benchmarks/figures/thresholds.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        curves=lambda wildcards, input: named(zip(MAPPED, input)),
        code=code_digest("semples.stages.figures"),
    shell:
        "exec python -m semples figures"
        " --thresholds"
        " --evaluation {params.curves:q}"
        " --out {output:q}"
        " &> {log:q}"


rule training:
    """The loss of every trained stage over its epochs."""
    input:
        [path for _, path in learning_curves(SEEDS[0])],
    output:
        report(
            f"{BASE}/figures/training.png",
            caption="../report/training.rst",
            category="Figures",
            labels={"figure": "training"},
        ),
    log:
        f"{BASE}/logs/figures/training.log",
    benchmark:
        f"{BASE}/benchmarks/figures/training.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        curves=named(learning_curves(SEEDS[0])),
        code=code_digest("semples.stages.figures"),
    shell:
        "exec python -m semples figures"
        " --training"
        " --metrics {params.curves:q}"
        " --out {output:q}"
        " &> {log:q}"
