#!/bin/sh
# The gate in any CI that runs a shell: gate.sh BASE CANDIDATE [REPORT FOLDER]
#
# BASE and CANDIDATE are whatever `compare` takes: a candidate's file, a blessed baseline's name, a stored run.
# Ends with the verdict's exit code. ON_INCONCLUSIVE=pass lets exit 3 through (a drop was seen and cannot be told from
# noise); whatever else is not 0 stays as it is. Keep .evalharness/ between jobs, and the report folder with the job.
set -u

base=${1:?usage: gate.sh BASE CANDIDATE [REPORT FOLDER]}
candidate=${2:?usage: gate.sh BASE CANDIDATE [REPORT FOLDER]}
report=${3:-gate}

code=0
evalharness compare "$base" "$candidate" --out "$report" || code=$?

case $code in
    0) echo "gate: pass" ;;
    1) echo "gate: a regression, see $report/report.html" ;;
    3) echo "gate: inconclusive, see $report/summary.md for what would decide it" ;;
    4) echo "gate: there is nothing to decide on; the lines above say why" ;;
    5) echo "gate: the provider failed or the budget is spent; run it again, and it goes on where it stopped" ;;
    *) echo "gate: could not be run (exit $code)" ;;
esac

if [ "$code" -eq 3 ] && [ "${ON_INCONCLUSIVE:-block}" = pass ]; then
    exit 0
fi
exit "$code"
