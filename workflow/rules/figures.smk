# In: CAMs, masks, prompts, evaluations, metrics or tables of `experiments`, listed by semples/planning/targets.py; mostly of
# the first seed. Out: figures/, PNG and PDF.
# The rules after `panel` inherit its environment, resources and command, and state their own inputs and arguments.

IMAGES = {
    "config": GRAPH.settings_json("figures", SHOWN.variants[0]),
    "split": CONFIG.data.train,
}


rule panel:
    """Draw images, ground truth, the CAMs of all variants, and the last variant's pseudo masks and segmentation."""
    input:
        manifest=rules.data.output.manifest,
        shown=SHOWN.paths("panel"),
    output:
        png=figure("panel"),
        pdf=TREE.file("figures", "panel.pdf"),
    log:
        TREE.log("figures", "panel"),
    benchmark:
        TREE.benchmark("figures", "panel")
    conda:
        "../../envs/plot.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        command="figures panel",
        arguments=arguments("manifest", shown="panel", **IMAGES),
        code=code_digest("semples.stages.figures.panels"),
    shell:
        "exec python -m semples {params.command}"
        " {params.arguments:q}"
        " --out {output.png:q}"
        " &> {log:q}"


use rule panel as framework with:
    """Draw the stages of the method on one image."""
    input:
        manifest=rules.data.output.manifest,
        shown=SHOWN.paths("framework"),
    output:
        png=figure("framework"),
        pdf=TREE.file("figures", "framework.pdf"),
    log:
        TREE.log("figures", "framework"),
    benchmark:
        TREE.benchmark("figures", "framework")
    params:
        command="figures framework",
        arguments=arguments("manifest", shown="framework", **IMAGES),
        code=code_digest("semples.stages.figures.panels"),


use rule panel as comparison with:
    """Draw the CAMs of all variants on random images, on the best and on the worst."""
    input:
        manifest=rules.data.output.manifest,
        shown=SHOWN.paths("comparison"),
    output:
        png=figure("comparison"),
        pdf=TREE.file("figures", "comparison.pdf"),
    log:
        TREE.log("figures", "comparison"),
    benchmark:
        TREE.benchmark("figures", "comparison")
    params:
        command="figures comparison",
        arguments=arguments(
            "manifest",
            shown="comparison",
            threshold=GRAPH.settings[SHOWN.last].crf.threshold.value,
            **IMAGES,
        ),
        code=code_digest("semples.stages.figures.panels"),


use rule panel as heatmap with:
    """Draw where in an image the guide sees a class name, the learned prompt and the prompt written by hand."""
    input:
        manifest=rules.data.output.manifest,
        guide=lambda wildcards: GRAPH.path("guide", "texts", SHOWN.last),
        shown=SHOWN.paths("heatmap"),
    output:
        png=figure("heatmap"),
        pdf=TREE.file("figures", "heatmap.pdf"),
    log:
        TREE.log("figures", "heatmap"),
    benchmark:
        TREE.benchmark("figures", "heatmap")
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        command="heatmap --names",
        arguments=arguments(
            "manifest",
            "guide",
            shown="heatmap",
            config=GRAPH.settings_json("heatmap", SHOWN.last),
            split=CONFIG.data.train,
        ),
        code=code_digest("semples.stages.heatmap"),


use rule panel as thresholds with:
    """Plot mIoU over the background threshold, one line for each variant."""
    input:
        shown=SHOWN.paths("thresholds"),
    output:
        png=figure("thresholds"),
        pdf=TREE.file("figures", "thresholds.pdf"),
    log:
        TREE.log("figures", "thresholds"),
    benchmark:
        TREE.benchmark("figures", "thresholds")
    params:
        command="figures thresholds",
        arguments=arguments(shown="thresholds"),
        code=code_digest("semples.stages.figures.curves"),


use rule panel as training with:
    """Plot the loss of every trained stage over its epochs."""
    input:
        shown=SHOWN.paths("training"),
    output:
        png=figure("training"),
        pdf=TREE.file("figures", "training.pdf"),
    log:
        TREE.log("figures", "training"),
    benchmark:
        TREE.benchmark("figures", "training")
    params:
        command="figures training",
        arguments=arguments(shown="training"),
        code=code_digest("semples.stages.figures.curves"),


use rule panel as sensitivity with:
    """Plot mIoU over the settings that the tables sweep."""
    input:
        [TREE.file("tables", f"{table}.csv") for table in SHOWN.swept()],
    output:
        png=figure("sensitivity"),
        pdf=TREE.file("figures", "sensitivity.pdf"),
    log:
        TREE.log("figures", "sensitivity"),
    benchmark:
        TREE.benchmark("figures", "sensitivity")
    params:
        command="figures sensitivity",
        arguments=lambda wildcards, input: ["--tables", *input],
        code=code_digest("semples.stages.figures.curves"),


use rule panel as confusion with:
    """Draw the confusion matrix of the last variant's segmentation."""
    input:
        manifest=rules.data.output.manifest,
        shown=SHOWN.paths("confusion"),
    output:
        png=figure("confusion"),
        pdf=TREE.file("figures", "confusion.pdf"),
    log:
        TREE.log("figures", "confusion"),
    benchmark:
        TREE.benchmark("figures", "confusion")
    params:
        command="figures confusion",
        arguments=arguments("manifest", shown="confusion", split=CONFIG.data.val),
        code=code_digest("semples.stages.figures.confusions"),


use rule panel as prompts with:
    """List the nouns nearest to the learned prompts, beside the words written by hand."""
    input:
        shown=SHOWN.paths("prompts"),
    output:
        png=figure("prompts"),
        pdf=TREE.file("figures", "prompts.pdf"),
    log:
        TREE.log("figures", "prompts"),
    benchmark:
        TREE.benchmark("figures", "prompts")
    params:
        command="figures prompts",
        arguments=arguments(shown="prompts", manual=json.dumps(SHOWN.manual_words())),
        code=code_digest("semples.stages.figures.curves"),


rule figures:
    """Make all figures that the run's variants, tables and ground truth allow."""
    input:
        [getattr(rules, name).output for name in SHOWN.members("figures")],
