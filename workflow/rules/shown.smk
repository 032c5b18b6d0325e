# Helpers of tables and figures: which evaluations, curves, words and maps they show, and what numbers hold for.


def evaluations(kinds=("cams", "crf", "segment"), variants=None, seeds=None):
    """(variant, seed, path) of every evaluation of a split that has true masks, for the tables."""
    return [
        (
            v,
            s,
            f"{BASE}/evaluate/{PLAN.output_of(graph.STAGE_OF_COLUMN[kind], v)}/seed{s}/{kind}.json",
        )
        for v in variants or VARIANTS
        for s in seeds or SEEDS
        for kind in kinds
        if (CONFIG.data.val if kind == "segment" else CONFIG.data.train)
        in MASKED_SPLITS
        and (kind == "segment" or PLAN.has_maps(v))
    ]


def evaluations_of(table):
    """(variant, seed, path) of every evaluation that one of the paper's tables shows."""
    rows = [row.variant for row in variants.rows_of(CONFIG, table)]
    seeds = variants.seeds_of(CONFIG, table)
    return evaluations(CONFIG.tables[table].columns, rows, seeds)


def table_json(table):
    """What one of the paper's tables is, as one line of JSON."""
    chosen = CONFIG.tables[table]
    rows = variants.rows_of(CONFIG, table)
    notes = [
        chosen.note,
        variants.settings_note(chosen),
        table_note([row.variant for row in rows], chosen.columns),
    ]
    spec = {
        "name": table,
        "title": chosen.title,
        "rows": [
            [*row, published.method_of(PLAN.settings[row.variant])] for row in rows
        ],
        "source": CONFIG.data.source,
        "published": chosen.published,
        "note": "\n".join(note for note in notes if note),
    }
    return json.dumps(spec)


def prompt_words():
    """(variant, seed, path) of the words of every variant that uses prompts."""
    return [
        (v, s, path_of(stage, "words.csv", v, s))
        for v in VARIANTS
        for s in SEEDS
        for stage in graph.PROMPTS
        if stage in graph.stages_of(PLAN.settings[v])
    ]


def learning_curves(seed):
    """(title, metrics.jsonl) of every trained stage that the variants use, each once."""
    curves = {}
    for v in VARIANTS:
        used = graph.stages_of(PLAN.settings[v])
        if PLAN.settings[v].cpl.source == "manual":
            used -= {"cpl"}
        if PLAN.settings[v].classify.epochs == 0:
            used -= {"classify"}
        if v != LAST:
            used -= {"segment"}
        for stage in graph.LEARNING:
            if stage in used:
                curves.setdefault(
                    path_of(stage, "metrics.jsonl", v, seed),
                    f"{stage}, {PLAN.output_of(stage, v)}",
                )
    return [(title, path) for path, title in curves.items()]


def stage_cams():
    """(stage, CAMs) of the stages that the last variant goes through, where a variant has them."""
    if not MAPPED:
        return []
    before = graph.stages_of(PLAN.settings[LAST]) & {"classify", "slm"}
    found = {PLAN.settings[v].masks_from: v for v in reversed(MAPPED)}
    shown = [(s, found[s]) for s in ("classify", "slm") if s in before & set(found)]
    shown = [(s, v) for s, v in shown if v != LAST] + [
        (PLAN.settings[LAST].masks_from, LAST)
    ]
    return [(s, path_of("cams", "cams.h5", v, SEEDS[0])) for s, v in shown]


def has_learned_prompts(variant):
    settings = PLAN.settings[variant]
    used = set(graph.PROMPTS) & graph.stages_of(settings)
    return bool(used) and settings.cpl.source == "learned"


def prompts_file(variant, file):
    """A file of the stage that made a variant's prompts."""
    (stage,) = set(graph.PROMPTS) & graph.stages_of(PLAN.settings[variant])
    return path_of(stage, file, variant, SEEDS[0])


def by_hand():
    """The variants whose prompts are written by hand."""
    return [
        v
        for v in VARIANTS
        if "cpl" in graph.stages_of(PLAN.settings[v])
        and PLAN.settings[v].cpl.source == "manual"
    ]


def shown_prompts():
    """(title, prompts) of the last variant, and of one with prompts written by hand."""
    pairs = [("learned prompt", LAST)] + [("prompt by hand", v) for v in by_hand()[:1]]
    return [(title, prompts_file(v, "prompts.safetensors")) for title, v in pairs]


def figure(name, caption):
    """The outputs of a figure: a PNG for the report, a PDF with vectors beside it."""
    return report(
        f"{BASE}/figures/{name}.png",
        caption=f"../report/{caption}.rst",
        category="Figures",
        labels={"figure": name},
    )


def manual_words():
    """Words written by hand, by class, as one line of JSON; under "" those of all others."""
    words = [PLAN.settings[v].cpl for v in by_hand()[:1]]
    found = [{"": chosen.manual, **chosen.manual_by_class} for chosen in words]
    return json.dumps(found[0] if found else {})


def named(pairs):
    """NAME=PATH words for the command line."""
    return [f"{name}={path}" for name, path in pairs]


def of_runs(rows):
    """VARIANT:SEED=PATH words for the command line."""
    return [f"{variant}:{seed}={path}" for variant, seed, path in rows]


def selection_note(variants):
    """Which epochs were kept, and by what."""
    policies = {name: PLAN.settings[name].selection.policy for name in variants}
    if set(policies.values()) == {"last"}:
        return "last epoch of every stage, no selection"
    named = ", ".join(f"{name} {policy}" for name, policy in policies.items())
    return f"epochs of slm, csr and joint selected by: {named} (`oracle` and `held-out` use true masks)"


def table_note(variants=VARIANTS, columns=("cams", "crf", "segment")):
    """What the numbers hold for, under every table."""
    settings = PLAN.settings[variants[0]]
    threshold = settings.crf.threshold
    from_masks = f"CRF preset `{settings.crf.preset}` from masks at"
    if not MASKED_SPLITS:
        return f"Preset {CONFIG.preset}; data {settings.data.source}; {from_masks} threshold {threshold.value}."
    judged = [
        (
            f"CAMs and pseudo masks judged on the masks of split `{settings.data.train}`"
            if {"cams", "crf"} & set(columns)
            else ""
        ),
        f"segmentation on `{settings.data.val}`" if "segment" in columns else "",
    ]
    crf = (
        f" {from_masks} the {threshold.policy} threshold."
        if {"crf", "segment"} & set(columns)
        else " No CRF."
    )
    cams = (
        f" The fixed threshold is {threshold.value}; `oracle` is the best threshold on the true masks."
        if "cams" in columns
        else ""
    )
    return (
        f"Preset {CONFIG.preset}; data {settings.data.source}; {', '.join(filter(None, judged))};"
        f" {selection_note(variants)}.{crf}{cams}"
    )
