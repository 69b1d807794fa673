# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The loader for programs that want secrets as environment variables where systemd gives them as credentials.

A shell script, since it runs at every start of an agent and is gone at once: the program takes its place, under the same
process id. No value is ever an argument, for `export` is the shell's own.
"""

from __future__ import annotations

PATH = "/usr/local/lib/muster/with-secrets"
TEXT = """\
#!/bin/sh
# Made by muster. Usage, in a unit: with-secrets NAME... -- PROGRAM ARGUMENT...
# Puts the service's credentials with these names into the environment, and becomes the program.
while [ "$1" != -- ]; do
    file=${CREDENTIALS_DIRECTORY:?is not set, so this is no service with credentials}/${1:?-- is missing}
    if [ ! -f "$file" ]; then
        echo "with-secrets: the unit loads no credential $1" >&2
        exit 78
    fi
    value=$(cat "$file" && echo .) || exit 78
    export "$1=${value%.}"
    shift
done
unset value file
shift
exec "$@"
"""
