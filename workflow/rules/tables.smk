# In: evaluations and prompt words, listed by semples/planning/targets.py. Out: tables/ of the whole run.
# `results` shows `experiments` only. Each table of the paper requests only its own rows and columns.
# The rules after `results` inherit its environment, resources and command, and state their own inputs and arguments.


rule results:
    """Write the scores of all variants and seeds."""
    input:
        shown=SHOWN.paths("results"),
    output:
        results=report(
            TREE.file("tables", "results.csv"),
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "results"},
        ),
        page=report(
            TREE.file("tables", "results.html"),
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "summary"},
        ),
        classes=report(
            TREE.file("tables", "classes.csv"),
            caption="../report/classes.rst",
            category="Tables",
            labels={"table": "classes"},
        ),
        markdown=TREE.file("tables", "results.md"),
    log:
        TREE.log("tables", "results"),
    benchmark:
        TREE.benchmark("tables", "results")
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        command="tables results",
        arguments=arguments(shown="results", note=SHOWN.note()),
        code=code_digest("semples.stages.tables.results"),
        out=subpath(output.markdown, parent=True),
    shell:
        "exec python -m semples {params.command}"
        " {params.arguments:q}"
        " --out {params.out:q}"
        " &> {log:q}"


use rule results as words with:
    """Write the words nearest to the prompts."""
    input:
        shown=SHOWN.paths("words"),
    output:
        markdown=TREE.file("tables", "words.md"),
        html=TREE.file("tables", "words.html"),
    log:
        TREE.log("tables", "words"),
    benchmark:
        TREE.benchmark("tables", "words")
    params:
        command="tables words",
        arguments=arguments(shown="words"),
        code=code_digest("semples.stages.tables.results"),


use rule results as paper with:
    """Write a table of the paper."""
    input:
        lambda wildcards: SHOWN.paths(wildcards.table),
    output:
        csv=TREE.file("tables", "{table}.csv"),
        markdown=TREE.file("tables", "{table}.md"),
        latex=TREE.file("tables", "{table}.tex"),
        page=report(
            TREE.file("tables", "{table}.html"),
            caption="../report/paper.rst",
            category="Paper: tables",
            labels={"table": "{table}"},
        ),
    log:
        TREE.log("tables", "{table}"),
    benchmark:
        TREE.benchmark("tables", "{table}")
    params:
        command="tables paper",
        arguments=lambda wildcards, input: [
            *SHOWN.arguments(wildcards.table, input),
            "--table",
            json.dumps(SHOWN.table_spec(wildcards.table)),
        ],
        code=code_digest("semples.stages.tables.paper"),


for table in CONFIG.tables:

    rule:
        name:
            table
        input:
            TREE.file("tables", f"{table}.csv"),


rule cost:
    """Write hours, memory and disk of every stage, from the benchmark files of the earlier jobs."""
    input:
        [TREE.file("tables", f"{table}.csv") for table in CONFIG.tables],
    output:
        csv=TREE.file("tables", "table_9.csv"),
        markdown=TREE.file("tables", "table_9.md"),
        latex=TREE.file("tables", "table_9.tex"),
        page=report(
            TREE.file("tables", "table_9.html"),
            caption="../report/cost.rst",
            category="Paper: tables",
            labels={"table": "table_9"},
        ),
    log:
        TREE.log("tables", "table_9"),
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        base=subpath(output.csv, ancestor=2),
        note=f"Preset {CONFIG.preset}; seeds {', '.join(map(str, CONFIG.seeds))}; run.device {CONFIG.run.device},"
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
    """Make the table of costs."""
    input:
        rules.cost.output.csv,


rule tables:
    """Make all tables of the paper."""
    input:
        [TREE.file("tables", f"{table}.csv") for table in CONFIG.tables],
        rules.cost.output.csv,
        rules.words.output,
