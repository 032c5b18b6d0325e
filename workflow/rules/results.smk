# In: evaluations and words of all variants. Out: tables/ of the whole run.
# `results` is of `experiments` alone; each table of the paper asks for what it shows and no more.

EVALUATIONS = evaluations()
WORDS = prompt_words()


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


rule cost:
    """Hours, memory and disk of every stage, from the benchmark files of the jobs before."""
    input:
        [f"{BASE}/tables/{table}.csv" for table in CONFIG.tables],
    output:
        csv=f"{BASE}/tables/table_9.csv",
        markdown=f"{BASE}/tables/table_9.md",
        latex=f"{BASE}/tables/table_9.tex",
        page=report(
            f"{BASE}/tables/table_9.html",
            caption="../report/cost.rst",
            category="Paper: tables",
            labels={"table": "table_9"},
        ),
    log:
        f"{BASE}/logs/tables/table_9.log",
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        base=subpath(output.csv, ancestor=2),
        note=f"Preset {CONFIG.preset}; seeds {', '.join(map(str, SEEDS))}; run.device {CONFIG.run.device},"
        f" {CONFIG.run.threads} threads a job.",
        code=code_digest("semples.stages.tables.cost"),
        out=subpath(output.csv, parent=True),
    shell:
        "exec python -m semples tables cost"
        " --base {params.base:q}"
        " --note {params.note:q}"
        " --out {params.out:q}"
        " &> {log:q}"


rule table_9:
    """Cost."""
    input:
        rules.cost.output.csv,


rule tables:
    """All of the paper's tables."""
    input:
        [f"{BASE}/tables/{table}.csv" for table in CONFIG.tables],
        rules.cost.output.csv,
        rules.words.output,
