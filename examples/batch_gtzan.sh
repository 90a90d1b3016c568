#!/bin/sh
# Jazz in the style of classical music, over a whole GTZAN.
#
#   sh examples/batch_gtzan.sh GENRES OUT [OPTIONS]
#
# GENRES is the folder that holds jazz/ and classical/. Run it again after any interruption: only what
# is missing is done. OPTIONS go to audiostyle batch, as --dry-run, --limit 3 or --evaluate.
set -eu

genres=${1:?say where the genres lie: sh examples/batch_gtzan.sh GENRES OUT}
out=${2:?say where the outputs go: sh examples/batch_gtzan.sh GENRES OUT}
shift 2
recipe=$(dirname "$0")/../configs/gtzan-jazz-to-classical.toml

code=0
audiostyle batch "$genres" "$genres" -o "$out" --content-genre jazz --style-genre classical \
  --by genre --config "$recipe" "$@" || code=$?
case " $* " in *" --dry-run "*|*" -n "*) exit "$code" ;; esac

# 1 means that some clips could not be used, as the broken one of GTZAN: the others are done.
if [ "$code" -le 1 ]; then
  audiostyle status "$out"
fi
exit "$code"
