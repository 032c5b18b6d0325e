# In: evaluations, words, CAMs, masks and metrics of all variants. Out: tables/ and figures/ of the whole run.
# `results` and three figures are of `experiments` alone; each table of the paper asks for what it shows and no more.

EVALUATIONS = evaluations()
CURVES = evaluations(kinds=("cams",))
WORDS = prompt_words()
LAST = VARIANTS[-1]  # the variant whose pseudo masks and segmentation are shown


rule results:
    """The numbers of all variants and seeds."""
    input:
        [path for *_, path in EVALUATIONS],
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
    log:
        f"{BASE}/logs/tables/results.log",
    benchmark:
        f"{BASE}/benchmarks/tables/results.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        evaluations=of_runs(EVALUATIONS),
        note=table_note(),
        code=code_digest("semples.stages.tables.results"),
        out=subpath(output.results, parent=True),
    shell:
        "exec python -m semples tables results"
        " --evaluation {params.evaluations:q}"
        " --note {params.note:q}"
        " --out {params.out:q}"
        " &> {log:q}"


rule words:
    """The words nearest to the prompts."""
    input:
        [path for *_, path in WORDS],
    output:
        f"{BASE}/tables/words.md",
    log:
        f"{BASE}/logs/tables/words.log",
    benchmark:
        f"{BASE}/benchmarks/tables/words.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        words=of_runs(WORDS),
        code=code_digest("semples.stages.tables.words"),
        out=subpath(output[0], parent=True),
    shell:
        "exec python -m semples tables words"
        " --words {params.words:q}"
        " --out {params.out:q}"
        " &> {log:q}"


rule paper:
    """One of the paper's tables."""
    input:
        lambda wildcards: [path for *_, path in evaluations_of(wildcards.table)],
    output:
        csv=f"{BASE}/tables/{{table}}.csv",
        markdown=f"{BASE}/tables/{{table}}.md",
        latex=f"{BASE}/tables/{{table}}.tex",
        page=report(
            f"{BASE}/tables/{{table}}.html",
            caption="../report/paper.rst",
            category="Paper: tables",
            labels={"table": "{table}"},
        ),
    log:
        f"{BASE}/logs/tables/{{table}}.log",
    benchmark:
        f"{BASE}/benchmarks/tables/{{table}}.tsv"
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        evaluations=lambda wildcards: of_runs(evaluations_of(wildcards.table)),
        table=lambda wildcards: table_json(wildcards.table),
        code=code_digest("semples.stages.tables.paper"),
        out=subpath(output.csv, parent=True),
    shell:
        "exec python -m semples tables paper"
        " --evaluation {params.evaluations:q}"
        " --table {params.table:q}"
        " --out {params.out:q}"
        " &> {log:q}"


for table in CONFIG.tables:

    rule:
        name:
            table
        input:
            f"{BASE}/tables/{table}.csv",


rule tables:
    """All of the paper's tables."""
    input:
        [f"{BASE}/tables/{table}.csv" for table in CONFIG.tables],
        rules.words.output,


rule panel:
    """Image, truth, the CAMs of all variants, and the last variant's pseudo mask and segmentation."""
    input:
        manifest=rules.data.output.manifest,
        cams=[path_of("cams", "cams.h5", v, SEEDS[0]) for v in VARIANTS],
        crf=path_of("crf", "masks", LAST, SEEDS[0]),
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
        cams=lambda wildcards, input: named(zip(VARIANTS, input.cams)),
        code=code_digest("semples.stages.figures"),
    shell:
        "exec python -m semples figures"
        " --panel"
        " --config {params.settings:q}"
        " --manifest {input.manifest:q}"
        " --split {params.split:q}"
        " --cams {params.cams:q}"
        " --masks 'pseudo mask'={input.crf:q} segmentation={input.segment:q}"
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
        curves=lambda wildcards, input: named(zip(VARIANTS, input)),
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
