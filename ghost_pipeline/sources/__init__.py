"""Reading: adapters that bring a source's canonical tables in as LazyFrames."""
