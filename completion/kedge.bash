# SPDX-License-Identifier: Apache-2.0
# Made by 'kedge completion'; change src/cli/commands.c.
_kedge_names() {
  kedge "$1" 2>/dev/null | awk 'NR > 1 { print $1 }'
}
# $1: word before the last, $2: first word, $3: second word
_kedge_words() {
  local words=
  case "$2" in
    '') echo 'init source target discover replicate list status sync pause resume repair resync verify stop test-migrate test-cleanup migrate complete jobs job events throttle blackout orphans network applier keys plan openapi version help completion'; return ;;
    source) [ -z "$3" ] && { echo 'add list check remove'; return; } ;;
    target) [ -z "$3" ] && { echo 'add list check inventory remove'; return; } ;;
    throttle) [ -z "$3" ] && { echo 'set calendar'; return; } ;;
    blackout) [ -z "$3" ] && { echo 'show set clear'; return; } ;;
    orphans) [ -z "$3" ] && { echo 'list clean'; return; } ;;
    network) [ -z "$3" ] && { echo 'check status plan'; return; } ;;
    keys) [ -z "$3" ] && { echo 'status rotate rewrap'; return; } ;;
    completion) echo 'bash zsh'; return ;;
  esac
  case "$2 $3" in
    'source add'|'source list'|'source check'|'source remove'|'target add'|'target list'|'target check'|'target inventory'|'target remove'|'throttle set'|'throttle calendar'|'blackout show'|'blackout set'|'blackout clear'|'orphans list'|'orphans clean'|'network check'|'network status'|'network plan'|'keys status'|'keys rotate'|'keys rewrap') set -- "$1" "$2 $3" ;;
    *) set -- "$1" "$2" ;;
  esac
  case "$2" in
    'init') words='--passphrase --config --socket --url --token-file --ca-file --json --help' ;;
    'source add') words='--url --user --password-file --ca-file --fingerprint --proxy --datacenter --match --transport --nfc-plain --nfc-compression --in-flight --host-buffer --vddk-library --hotadd-machine --quiesce --power-off --datastore-floor --qmp --scratch-dir --granularity --scratch-max --path --cpus --memory --config --socket --url --token-file --ca-file --json --help' ;;
    'source list') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'source check') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'source remove') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'target add') words='--dir --format --accel --device-map --applier --subscription --resource-group --location --credential-file --endpoint --replica-container --replica-credential-file --storage-account --network --subnet --test-network --test-subnet --vm-size --disk-sku --replica --zone --availability-set --proximity-group --security-group --license-type --encryption-set --os-type --tags --machine-settings --config --socket --url --token-file --ca-file --json --help' ;;
    'target list') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'target check') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'target inventory') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'target remove') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'discover') words='--source --tree --config --socket --url --token-file --ca-file --json --help' ;;
    'replicate') words='--target --name --auto-repair --marker --wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'list') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'status') words='--watch --config --socket --url --token-file --ca-file --json --help' ;;
    'sync') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'pause') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'resume') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'repair') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'resync') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'verify') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'stop') words='--force --wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'test-migrate') words='--name --network --marker --boot-deadline --wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'test-cleanup') words='--name --wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'migrate') words='--shutdown --no-restart --override-blackout --no-shutdown --marker --boot-deadline --wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'complete') words='--wait --no-wait --config --socket --url --token-file --ca-file --json --help' ;;
    'jobs') words='--machine --limit --config --socket --url --token-file --ca-file --json --help' ;;
    'job') words='--cancel --follow --config --socket --url --token-file --ca-file --json --help' ;;
    'events') words='--follow --since --last --config --socket --url --token-file --ca-file --json --help' ;;
    'throttle set') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'throttle calendar') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'throttle') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'blackout show') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'blackout set') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'blackout clear') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'orphans list') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'orphans clean') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'network check') words='--offline --config --socket --url --token-file --ca-file --json --help' ;;
    'network status') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'network plan') words='--source-region --target-region --cloud --offline --config --socket --url --token-file --ca-file --json --help' ;;
    'applier') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'keys status') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'keys rotate') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'keys rewrap') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'plan') words='--fleet --bandwidth --sent-pct --churn --blackout --cycles --gateway-disks --host-disks --datastore-snapshots --gateway-machines --total-machines --at-once --boot --seed --config --socket --url --token-file --ca-file --json --help' ;;
    'openapi') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'version') words='--config --socket --url --token-file --ca-file --json --help' ;;
    'help') words='--man --config --socket --url --token-file --ca-file --json --help' ;;
    'completion') words='--config --socket --url --token-file --ca-file --json --help' ;;
  esac
  case "$2" in
    status|sync|pause|resume|repair|resync|verify|stop|test-migrate|test-cleanup|migrate|complete|plan) words="$words $(_kedge_names list)" ;;
  esac
  echo "$words"
}
_kedge() {
  local cur=${COMP_WORDS[COMP_CWORD]} first= second= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in -*) continue ;; esac
    if [ -z "$first" ]; then first=${COMP_WORDS[i]}
    elif [ -z "$second" ]; then second=${COMP_WORDS[i]}; fi
  done
  COMPREPLY=($(compgen -W "$(_kedge_words "" "$first" "$second")" -- "$cur"))
  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -F _kedge kedge
