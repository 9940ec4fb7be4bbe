"""Write a linear Metaflow flow of N empty steps between ``start`` and ``end``: ``metaflow_flow.py N FILE``.

Metaflow reads the source of the flow class, so it is written out, not made in a loop.
"""

import sys

steps, file = int(sys.argv[1]), sys.argv[2]
names = ["start", *[f"step_{number}" for number in range(steps)], "end"]
lines = ["from metaflow import FlowSpec, step", "", "", "class Linear(FlowSpec):"]
for name, following in zip(names, [*names[1:], None], strict=True):
    body = f"self.next(self.{following})" if following else "pass"
    lines += ["    @step", f"    def {name}(self):", f"        {body}", ""]
lines += ["", 'if __name__ == "__main__":', "    Linear()"]
with open(file, "w") as out:
    out.write("\n".join(lines) + "\n")
