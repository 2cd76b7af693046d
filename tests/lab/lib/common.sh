# Helpers shared by the lab's parts; sourced by ../lab.
# shellcheck shell=bash

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || die "this needs root (network namespaces and mounts)"; }

python() {
  if [ -z "${LAB_PYTHON:-}" ]; then
    if [ -x /usr/bin/python3 ]; then LAB_PYTHON=/usr/bin/python3
    else LAB_PYTHON=$(python3 -c 'import sys; print(sys.executable)') || die "python3 is needed"; fi
    export LAB_PYTHON
  fi
  printf '%s\n' "$LAB_PYTHON"
}

all_mtas() { local f; for f in "$SRC"/mta/*.sh; do f=${f##*/}; echo "${f%.sh}"; done; }

load_mta() {
  [ -e "$SRC/mta/$1.sh" ] || die "no such MTA: $1 (there are: $(all_mtas | tr '\n' ' '))"
  # shellcheck disable=SC1090
  . "$SRC/mta/$1.sh"
}

check_combo() {
  local all
  all=$(load_mta "$1" && mta_variants) || exit 1
  case " $(echo $all) " in
    *" $2 "*) ;;
    *) die "$1 has no variant $2 (it has: $(echo $all))" ;;
  esac
}

# Sets LAB_DIR to the running lab's directory: the caller's, or the last one.
find_dir() {
  if [ -n "${LAB_DIR:-}" ]; then if [ -d "$LAB_DIR" ]; then return 0; else return 1; fi; fi
  [ -s "$LAB_HOME/current" ] || return 1
  LAB_DIR=$(cat "$LAB_HOME/current")
  export LAB_DIR
  [ -d "$LAB_DIR" ]
}

cmdline_has() { { tr '\0' ' ' < "/proc/$1/cmdline" | grep -qF -- "$2"; } 2>/dev/null; }

# The host's init, if it is still the one this lab started.
host_pid() {
  local p
  [ -s "$LAB_DIR/$1/pid" ] || return 1
  p=$(cat "$LAB_DIR/$1/pid")
  cmdline_has "$p" "init.sh $LAB_DIR $1 " || return 1
  printf '%s\n' "$p"
}

enter() { # HOST CMD...
  local p
  p=$(host_pid "$1") || die "host $1 is not up"
  nsenter -t "$p" -m -n -u -p -- "${@:2}"
}

# A daemon on a host, its output in HOST/NAME.log; it dies with the host.
daemon() { # HOST NAME CMD...
  local p
  p=$(host_pid "$1") || die "host $1 is not up"
  setsid nsenter -t "$p" -m -n -u -p -- "${@:3}" \
    </dev/null >>"$LAB_DIR/$1/$2.log" 2>&1 &
  disown
}

wait_for() { # SECONDS WHAT CMD...: until the command succeeds
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "timed out waiting for $what"
    sleep 0.1
  done
}

listening() { # HOST ADDR PORT (an address of that host)
  enter "$1" "$(python)" -c '
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
s.close()' "$2" "$3"
}

# Names that nobody can have been told before: drawn once for each lab.
draw_names() {
  local word
  word() { tr -dc a-z < /dev/urandom | head -c 7; }
  if [ -n "${LAB_NAMES:-}" ]; then
    cp "$LAB_NAMES" "$LAB_DIR/names"
  else
    {
      printf 'LAB_DOMAIN=%s.test\n' "$(word)"
      printf 'LAB_FOREIGN=%s.test\n' "$(word)"
      printf 'LAB_PROBE=%s.test\n' "$(word)"
      printf 'LAB_USER=%s\n' "$(word)"
      printf 'LAB_PASSWORD=%s\n' "$(word)"
    } > "$LAB_DIR/names"
  fi
  read_names
}
read_names() {
  # shellcheck disable=SC1091
  . "$LAB_DIR/names"
  export LAB_DOMAIN LAB_FOREIGN LAB_PROBE LAB_USER LAB_PASSWORD
}

make_hosts() {
  local h d
  for h in mx remote world; do
    d=$LAB_DIR/$h
    mkdir -p "$d"/{etc,run,dev} "$d"/var/{spool,mail,log,lib}
    cp -a /etc/. "$d/etc/"
    mkdir -p "$d/run/lock"
    chmod 1777 "$d/run/lock"
    chmod 2775 "$d/var/mail"; chgrp mail "$d/var/mail" 2>/dev/null || true
    ln -s ../mail "$d/var/spool/mail"
    rm -f "$d/etc/resolv.conf" "$d/etc/hosts" "$d/etc/hostname" "$d/etc/mailname"
    printf 'nameserver 203.0.113.53\noptions timeout:2 attempts:2\n' > "$d/etc/resolv.conf"
    printf 'hosts: files dns\npasswd: files\ngroup: files\nshadow: files\nservices: files\nprotocols: files\n' \
      > "$d/etc/nsswitch.conf"
  done
  printf "127.0.0.1 localhost\n::1 localhost ip6-localhost\n192.0.2.25 mx.$LAB_DOMAIN mx\n2001:db8::25 mx.$LAB_DOMAIN mx\n" > "$LAB_DIR/mx/etc/hosts"
  printf "127.0.0.1 localhost\n::1 localhost ip6-localhost\n198.51.100.7 probe.$LAB_PROBE probe\n2001:db8:7::7 probe.$LAB_PROBE probe\n" > "$LAB_DIR/remote/etc/hosts"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' > "$LAB_DIR/world/etc/hosts"
  echo "mx.$LAB_DOMAIN" > "$LAB_DIR/mx/etc/hostname"
  echo "probe.$LAB_PROBE" > "$LAB_DIR/remote/etc/hostname"
  echo ns.lab.test > "$LAB_DIR/world/etc/hostname"
  echo "$LAB_DOMAIN" > "$LAB_DIR/mx/etc/mailname"
  # the mail users, with their homes in the lab
  mkdir -p "$LAB_DIR/mx/var/spool/home"
  add_user "$LAB_USER" 5001; add_user postmaster 5002
  (load_mta "$MTA"; if declare -F mta_var_lib >/dev/null; then mta_var_lib "$LAB_DIR/mx/var/lib"; fi)
}

# A user and group of that number in mx's own passwd, replacing any other.
add_group() { # NAME GID
  sed -i "/^$1:/d" "$LAB_DIR/mx/etc/group"
  echo "$1:x:$2:" >> "$LAB_DIR/mx/etc/group"
}
add_user() { # NAME UID [HOME] [SHELL]
  local e=$LAB_DIR/mx/etc home=${3:-/var/spool/home/$1}
  sed -i "/^$1:/d" "$e/passwd" "$e/shadow"
  add_group "$1" "$2"
  echo "$1:x:$2:$2::$home:${4:-/bin/sh}" >> "$e/passwd"
  echo "$1:*:19000:0:99999:7:::" >> "$e/shadow"
  if [ -z "${3:-}" ]; then
    mkdir -p "$LAB_DIR/mx/var/spool/home/$1"
    chown "$2:$2" "$LAB_DIR/mx/var/spool/home/$1"
    chmod 755 "$LAB_DIR/mx/var/spool/home/$1"
  fi
}

start_hosts() {
  local h layers up
  for h in mx remote world; do
    layers=$(layer_path base)
    if [ "$h" = mx ] && [ -d "$LAB_HOME/layers/$MTA/usr" ]; then
      layers=$LAB_HOME/layers/$MTA/usr${layers:+:$layers}
      [ -d "$LAB_HOME/layers/$MTA/etc" ] && cp -a "$LAB_HOME/layers/$MTA/etc/." "$LAB_DIR/mx/etc/"
    fi
    if [ "$h" = world ] && [ -d "$LAB_HOME/layers/base/etc" ]; then
      cp -a "$LAB_HOME/layers/base/etc/." "$LAB_DIR/world/etc/"
    fi
    setsid unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private \
      bash "$SRC/lib/init.sh" "$LAB_DIR" "$h" "$layers" "$LAB_TTL" \
      </dev/null >"$LAB_DIR/$h/init.log" 2>&1 &
    up=$!
    disown
    echo "$up" > "$LAB_DIR/$h/unshare.pid"
  done
  for h in mx remote world; do
    wait_for 15 "host $h" test -e "$LAB_DIR/$h/ready"
    up=$(cat "$LAB_DIR/$h/unshare.pid")
    # the init is unshare's one child
    local p
    for p in $(ps -o pid= --ppid "$up"); do echo "$p" > "$LAB_DIR/$h/pid"; done
    host_pid "$h" >/dev/null || die "host $h did not start"
  done
  local w; w=$(host_pid world)
  link() { # HOST IFACE ADDR4 GW4 ADDR6 GW6
    enter_net "$1" ip link add eth0 type veth peer name "$2" netns "$w"
    enter "$1" sh -c 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad'
    enter world sh -c 'echo 0 > "/proc/sys/net/ipv6/conf/$0/accept_dad"' "$2"
    enter "$1" ip addr add "$3/24" dev eth0
    enter "$1" ip addr add "$5/64" dev eth0 nodad
    enter "$1" ip link set eth0 up
    enter world ip addr add "$4/24" dev "$2"
    enter world ip addr add "$6/64" dev "$2" nodad
    enter world ip link set "$2" up
    enter "$1" ip route add default via "$4"
    enter "$1" ip -6 route add default via "$6"
  }
  link mx to-mx 192.0.2.25 192.0.2.1 2001:db8::25 2001:db8::1
  link remote to-remote 198.51.100.7 198.51.100.1 2001:db8:7::7 2001:db8:7::1
  local a
  for a in 203.0.113.53 203.0.113.25 203.0.113.26; do enter world ip addr add "$a/32" dev lo; done
  for a in 53 25 26; do enter world ip addr add "2001:db8:53::$a/128" dev lo nodad; done
  enter world sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
}

# Like enter, but in this process namespace, so that "netns PID" means our PIDs.
enter_net() { local p; p=$(host_pid "$1") || die "host $1 is not up"; nsenter -t "$p" -m -n -- "${@:2}"; }

# Ends the hosts, also those of an `up` that was interrupted before it wrote down
# who they are. unshare ignores SIGTERM, and takes its child along.
stop_hosts() {
  local p end
  for p in $(inits); do kill -9 "$p" 2>/dev/null || true; done
  # the last mount and network namespace users go with the inits
  end=$((SECONDS + 10))
  while [ -n "$(inits)" ] && [ $SECONDS -lt $end ]; do sleep 0.05; done
}

# The processes that are hosts of this lab, and those that started them: the lab's
# directory is an argument of theirs.
inits() {
  local f p
  for f in $(grep -lzxF -- "$LAB_DIR" /proc/[0-9]*/cmdline 2>/dev/null); do
    p=${f#/proc/} p=${p%/cmdline}
    if cmdline_has "$p" "init.sh $LAB_DIR "; then printf '%s\n' "$p"; fi
  done
}
