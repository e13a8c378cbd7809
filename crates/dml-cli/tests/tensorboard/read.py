"""Prints, as JSON, the scalars that TensorBoard's own loader finds in a run folder: {tag: [[step, value], ...]}.

    pip install tensorboard    # 2.21 when this was written
    python read.py RUN_FOLDER
"""

import json
import sys

try:
    import tensorboard
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    sys.exit(f"no tensorboard: {error}")

accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
accumulator.Reload()
scalars = {
    tag: [[event.step, event.value] for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
}
json.dump({"version": tensorboard.__version__, "scalars": scalars}, sys.stdout)
