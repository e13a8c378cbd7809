//! Recipes, trainer, optimisers, schedules, checkpoints and events
