# Postfix, with Cyrus SASL over a static user database. Sourced by ../lab.
# shellcheck shell=bash

mta_packages() { echo postfix libsasl2-2 libsasl2-modules libsasl2-modules-db sasl2-bin libdb5.3; }

mta_variants() {
  echo sane open-relay plaintext-auth catchall no-tls expired-cert closed-localhost greylist
}

mta_after_unpack() { # the set-gid helpers, as the package's postinst makes them
  local f
  for f in postdrop postqueue; do chgrp 5102 "$1/usr/sbin/$f"; chmod 2555 "$1/usr/sbin/$f"; done
}

mta_configure() {
  local v=$1 k spool=$LAB_DIR/mx/var/spool
  add_user postfix 5101 /var/spool/postfix /usr/sbin/nologin
  add_group postdrop 5102
  place_cert "$(cert_of "$v")" root 600
  mkdir -p "$E/postfix" "$spool/postfix" "$spool/postfix-data"
  chown 5101:5101 "$spool/postfix-data"
  declare -A P=(
    [compatibility_level]=3.6
    [queue_directory]=/var/spool/postfix
    [data_directory]=/var/spool/postfix-data
    [daemon_directory]=/usr/lib/postfix/sbin
    [command_directory]=/usr/sbin
    [mail_owner]=postfix
    [setgid_group]=postdrop
    [maillog_file]=/var/log/mail.log
    [myhostname]=mx.$LAB_DOMAIN
    [mydomain]=$LAB_DOMAIN
    [myorigin]=$LAB_DOMAIN
    [mydestination]="$LAB_DOMAIN, mx.$LAB_DOMAIN, localhost"
    [mynetworks]="127.0.0.0/8 [::1]/128"
    [inet_interfaces]=all
    [inet_protocols]=all
    [alias_maps]="" [alias_database]=""
    [home_mailbox]=Maildir/
    [mailbox_size_limit]=0
    [recipient_delimiter]=+
    [message_size_limit]=10485760
    [smtpd_relay_restrictions]="permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
    [disable_vrfy_command]=yes
    [smtpd_forbid_bare_newline]=normalize
    [smtpd_tls_cert_file]=/etc/lab-tls/server.pem
    [smtpd_tls_key_file]=/etc/lab-tls/server.key
    [smtpd_tls_security_level]=may
    [smtpd_tls_auth_only]=yes
    [smtpd_sasl_path]=smtpd
    [smtpd_sasl_security_options]=noanonymous
    [smtpd_sasl_local_domain]=$LAB_DOMAIN
    [cyrus_sasl_config_path]=/etc/postfix/sasl
    [smtp_tls_security_level]=may
    [minimal_backoff_time]=300s
  )
  # the service on port 25: "MAXPROC COMMAND", its options and what it needs
  local smtp="- smtpd" smtp_more=$'  -o smtpd_sasl_auth_enable=no\n'
  local tls_submission=encrypt auth_only=yes
  case $v in
    sane|expired-cert) ;;
    open-relay) P[mynetworks]="0.0.0.0/0 [::]/0" ;;
    plaintext-auth)
      smtp_more=$'  -o smtpd_sasl_auth_enable=yes\n'
      auth_only=no tls_submission=may ;;
    catchall) P[local_recipient_maps]="" P[luser_relay]="$LAB_USER" ;;
    no-tls) P[smtpd_tls_security_level]=none tls_submission=none auth_only=no ;;
    closed-localhost)
      P[mynetworks]=192.0.2.25
      P[smtpd_client_restrictions]="check_client_access inline:{127.0.0.1=REJECT, ::1=REJECT}" ;;
    greylist)
      P[smtpd_recipient_restrictions]="permit_mynetworks, permit_sasl_authenticated, check_policy_service unix:/run/greylist.sock" ;;
  esac
  P[smtpd_tls_auth_only]=$auth_only
  for k in "${!P[@]}"; do printf '%s = %s\n' "$k" "${P[$k]}"; done | sort > "$E/postfix/main.cf"
  {
    printf 'smtp inet n - n - %s\n%s' "$smtp" "$smtp_more"
    printf 'submission inet n - n - - smtpd\n  -o smtpd_tls_security_level=%s\n  -o smtpd_sasl_auth_enable=yes\n' "$tls_submission"
    printf '  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n  -o smtpd_recipient_restrictions=\n  -o smtpd_client_restrictions=\n  -o smtpd_helo_restrictions=\n  -o smtpd_client_connection_rate_limit=0\n'
    if [ "$v" != no-tls ]; then
      printf 'submissions inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n  -o smtpd_sasl_auth_enable=yes\n'
      printf '  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n  -o smtpd_recipient_restrictions=\n  -o smtpd_client_restrictions=\n  -o smtpd_helo_restrictions=\n  -o smtpd_client_connection_rate_limit=0\n'
    fi
    cat <<'M'
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
M
  } > "$E/postfix/master.cf"
  mkdir -p "$E/postfix/sasl"
  printf 'pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: /etc/sasldb2\nlog_level: 0\n' > "$E/postfix/sasl/smtpd.conf"
}

mta_start() {
  case $1 in greylist)
    daemon mx greylist "$(python)" "$SRC/lib/greylist.py" /run/greylist.sock 5
    wait_for 5 "the greylist policy" test -S "$LAB_DIR/mx/run/greylist.sock" ;;
  esac
  printf %s "$LAB_PASSWORD" | enter mx saslpasswd2 -p -c -u "$LAB_DOMAIN" -f /etc/sasldb2 "$LAB_USER"
  chown root:5101 "$E/sasldb2"; chmod 640 "$E/sasldb2"
  enter mx postfix -c /etc/postfix start >>"$LAB_DIR/mx/postfix-start.log" 2>&1 ||
    die "postfix did not start"
}

mta_ready() {
  wait_for 20 "postfix" listening mx 192.0.2.25 25
  wait_for 20 "postfix" listening mx 192.0.2.25 587
}

mta_queue() { enter mx postqueue -p; }
