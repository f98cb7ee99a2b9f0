"""Commands and options of other programs that people may type, and what to write here instead.

It is one table for both. When such a command line is refused, the message has the sentence for the word.
"""

from __future__ import annotations

from typing import Final

_STATE: Final = "Write `state: {}` at the portfolio in its file, then run `reconciler apply`."
_VALIDATE: Final = "`reconciler validate` checks the files."
_REBALANCE: Final = "`reconciler rebalance ID` runs a portfolio once now."
_STATUS: Final = "`reconciler status` shows what is live, `reconciler coverage` what is live and declared by no file."
_PLAN: Final = "`reconciler plan` shows what apply would do, and changes nothing."
_DELETE: Final = (
    "Nothing is ever deleted at Glider. To stop a portfolio, write `state: paused` and apply. A portfolio that you "
    "take out of the files is no longer managed, and stays as it is."
)
_APPROVE: Final = "`reconciler apply --auto-approve` asks nothing; no other option does that, and `plan` never asks."
_FORCE: Final = (
    "Nothing is forced. `reconciler apply --allow pause=12` lets a plan through that is over a guard, by its number; "
    "`--resume-held ID` resumes what somebody else paused."
)
_COMPLETION: Final = 'Write `eval "$(_RECONCILER_COMPLETE=bash_source reconciler)"`, or zsh_source or fish_source.'
_JSON: Final = "Write `-o json`."
_VERSION: Final = "`reconciler --version` prints it."

_HALT: Final = "To stop what runs at once, whatever the files say: `reconciler halt`."

INSTEAD: Final = {
    **dict.fromkeys(("--yes", "-y", "--approve"), _APPROVE),
    **dict.fromkeys(("--dry-run", "-n", "--check", "--diff", "diff", "preview"), _PLAN),
    **dict.fromkeys(("--force", "--override", "--ignore-guards"), _FORCE),
    **dict.fromkeys(("completion", "completions", "--install-completion"), _COMPLETION),
    **dict.fromkeys(("--json", "--format"), _JSON),
    **dict.fromkeys(("-V", "version"), _VERSION),
    "--yaml": "`reconciler import` writes YAML; everything else is text or `-o json`.",
    "--config": "Write `-f FILE`.",
    "--debug": "Write `-v`.",
    "--api-key": "The key is read from the environment variable GLIDER_API_KEY only.",
    "--key": "The key is read from the environment variable GLIDER_API_KEY only.",
    "login": "There is no login: the key is read from the environment variable GLIDER_API_KEY.",
    "help": "`reconciler --help` lists the commands, `reconciler COMMAND --help` explains one.",
    "pause": _STATE.format("paused"),
    "stop": f"{_STATE.format('paused')} {_HALT}",
    "kill": _HALT,
    "lift": "`reconciler halt lift ID` lifts a halt; `reconciler halt list` shows which there are.",
    "resume": _STATE.format("active"),
    "start": _STATE.format("active"),
    **dict.fromkeys(("list", "ls", "get"), _STATUS),
    "refresh": "Every plan reads what is live anew. `reconciler status` shows it.",
    **dict.fromkeys(("destroy", "delete", "remove", "rm"), _DELETE),
    **dict.fromkeys(("lint", "check", "test"), _VALIDATE),
    **dict.fromkeys(("run", "trigger"), _REBALANCE),
    "export": "`reconciler import` writes what is live as YAML, `reconciler journal export` what the journal knows.",
    "log": "`reconciler history` shows earlier applies.",
    "logs": "`reconciler history` shows earlier applies.",
}
"""What to do instead, by the word as typed."""
