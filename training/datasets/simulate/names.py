"""Names of topics, so that a simulated feed reads like one. Knows nothing else."""

TOPIC_NAMES: tuple[str, ...] = (
    *("travel", "food", "fitness", "fashion", "beauty", "gaming", "football", "basketball", "cats", "dogs"),
    *(
        "gardening",
        "interiors",
        "architecture",
        "photography",
        "painting",
        "crafts",
        "books",
        "poetry",
        "film",
        "comedy",
    ),
    *("dance", "hiphop", "classical", "guitar", "cars", "cycling", "running", "climbing", "surfing", "sailing"),
    *("science", "space", "history", "languages", "coding", "startups", "parenting", "weddings", "baking", "coffee"),
)
