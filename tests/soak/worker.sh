#!/bin/sh
# The worker of a soak: what it does stands in the stage's name. $1 is the stage, $2 the run; see tests/soak/model.rs.
stage=$1
run=$2
rest=${stage#*-}
area=${rest%%-*}
rest=${rest#*-}
work=${rest%%-*}
rest=${run#*.}
attempt=${rest%%.*}
case $run in *.r[0-9]*) try=${run##*.r} ;; *) try=0 ;; esac

said='"id":"%s","type":"message","role":"assistant","model":"maker","content":[{"type":"text","text":"so"}]'
say() {
  # shellcheck disable=SC2059 # the format is ours
  printf '{"type":"assistant","message":{'"$said"',"usage":{"input_tokens":900,"output_tokens":1}}}\n' "$run"
}
over() {
  printf '{"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":0.01,"usage":{"input_tokens":1000,"output_tokens":20},"modelUsage":{"maker":{"inputTokens":1000,"outputTokens":20,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":0.01}}}\n'
}
put() {
  mkdir -p "$area"
  echo "$1" >"$area/$stage.txt"
}
hand_in() {
  printf '{"stage_id":"%s","status":"%s","deliverables":[],"notes":"as the soak has it"%s}' "$1" "$2" "${3:-}" \
    >.autometta/outbox/handoff.json
}
work() {
  put "work $attempt"
  hand_in "$stage" pass
  over
  exit 0
}

[ "$work" = limited ] || say
case $work in
works) work ;;
mends)
  [ "$attempt" -gt 1 ] && work
  put "wrong $attempt"
  hand_in "$stage" pass
  ;;
spills)
  yes 'a line that nobody needs' | head -c 500000
  work
  ;;
orphans)
  setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 &
  work
  ;;
dies)
  put half
  [ "$try" -lt 2 ] && kill -9 $$
  work
  ;;
limited)
  if [ "$try" -eq 0 ]; then
    printf '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":%s,"rateLimitType":"five_hour"}}\n' \
      $(($(date +%s) + 2))
    cat "$T/claude-429.jsonl"
    exit 1
  fi
  say
  work
  ;;
wanders)
  if [ "$attempt" -eq 1 ]; then echo more >>README.md; else printf '# Repo\n' >README.md; fi
  work
  ;;
meddles)
  put "work $attempt"
  git add -A
  git -c user.name=Maker -c user.email=maker@local commit -qm 'By myself' 2>/dev/null
  : >"$(git rev-parse --git-dir)/index.lock"
  work
  ;;
climbs)
  [ "$attempt" -gt 1 ] && work
  sleep 60
  ;;
asked)
  [ "$attempt" -gt 1 ] && work
  put asked
  hand_in "$stage" blocked ',"question":"Which one?"'
  ;;
wrong)
  put "wrong $attempt"
  hand_in "$stage" pass
  ;;
same)
  put wrong
  hand_in "$stage" pass
  ;;
empty) hand_in "$stage" pass ;;
gives)
  put half
  hand_in "$stage" fail
  ;;
asks)
  put asked
  hand_in "$stage" blocked ',"question":"Which one?"'
  ;;
silent) put work ;;
forges)
  put work
  hand_in 0000-a-works-plain-passes pass
  ;;
crashes)
  put half
  exit 1
  ;;
hangs) sleep 60 ;;
floods)
  yes 'a line that nobody needs' | head -c 3000000
  sleep 60
  ;;
esac
over
