#!/bin/sh
# The verifier of a soak: what it does stands in the stage's name. $1 is the stage, $2 the run; see tests/soak/model.rs.
stage=$1
run=$2
rest=${stage#*-}
area=${rest%%-*}
rest=${rest#*-*-}
judge=${rest#*-}
rest=${run#*.}
attempt=${rest%%.*}
case $run in *.r[0-9]*) try=${run##*.r} ;; *) try=0 ;; esac
case $run in *.verifier-[0-9]*) seat=${run##*.verifier-} ;; *) seat=0 ;; esac
seat=${seat%%.*}

verdict() {
  printf '{"stage_id":"%s","overall":"%s","headline":"Do the work","criteria":[{"id":1,"name":"it works","verdict":"%s","evidence":"%s"}],"additional_findings":""}' \
    "$1" "$2" "$2" "$3" >.autometta/outbox/verdict.json
}
say() { verdict "$stage" "$1" "$area/$stage.txt:1"; }
garble() { echo '{"overall": "PA' >.autometta/outbox/verdict.json; }

printf '{"type":"turn.started"}\n'
if [ "$try" -eq 0 ]; then
  case $judge in
  garbles) garble ;;
  strays) verdict 0000-a-works-plain-passes PASS "$area/$stage.txt:1" ;;
  dreams) verdict "$stage" PASS nowhere/at-all.rs:7 ;;
  falls)
    say PASS
    kill -9 $$
    ;;
  dawdles) sleep 60 ;;
  waits)
    said=$(date -d '+1 minute' '+%b %dth, %Y %I:%M %p')
    printf '{"type":"error","message":"You’ve hit your usage limit. Upgrade or try again at %s."}\n' "$said"
    printf '{"type":"turn.failed","error":{"message":"You’ve hit your usage limit. Upgrade or try again at %s."}}\n' "$said"
    exit 1
    ;;
  esac
  case $judge in garbles | strays | dreams) exit 0 ;; esac
fi
case $judge-$seat in
refuses-*) if [ "$attempt" -eq 1 ]; then say FAIL; else say PASS; fi ;;
split-pass-3 | split-fail-2 | split-fail-3 | split-open-2 | never-*) say FAIL ;;
split-open-3 | mute-*) garble ;;
blind-*) verdict "$stage" BLOCKED 'there is no browser on this machine to look with' ;;
*) say PASS ;;
esac
printf '{"type":"item.completed","item":{"id":"item_1","type":"agent_message","text":"I have looked."}}\n'
printf '{"type":"turn.completed","usage":{"input_tokens":300,"cached_input_tokens":100,"output_tokens":10}}\n'
