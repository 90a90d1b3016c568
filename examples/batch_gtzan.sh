#!/bin/sh
# Jazz in the style of classical music, for all of GTZAN.
#
#   sh examples/batch_gtzan.sh GENRES OUT [OPTIONS]
#
# GENRES is the folder that contains jazz/ and classical/. After an interruption, run it again: only
# missing pairs are computed. OPTIONS are passed to audiostyle batch, such as --dry-run, --limit 3 or
# --evaluate.
set -eu

genres=${1:?name the folder of the genres: sh examples/batch_gtzan.sh GENRES OUT}
out=${2:?name the folder for the outputs: sh examples/batch_gtzan.sh GENRES OUT}
shift 2
recipe=$(dirname "$0")/../configs/gtzan-jazz-to-classical.toml

code=0
audiostyle batch "$genres" "$genres" -o "$out" --content-genre jazz --style-genre classical \
  --by genre --config "$recipe" "$@" || code=$?
case " $* " in *" --dry-run "*|*" -n "*) exit "$code" ;; esac

# Exit code 1: some clips, such as the broken one of GTZAN, could not be used; the others are done.
if [ "$code" -le 1 ]; then
  audiostyle status "$out"
fi
exit "$code"
