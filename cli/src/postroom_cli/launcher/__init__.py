"""The one-machine launcher: real servers and the five services as supervised processes.

`config` says what is wanted, `secrets` and `certificate` make what is kept, `postgres` and `servers` describe the
programs that aren't ours, `services` ours; `supervisor` runs them all; `postroom` puts it together.
"""
