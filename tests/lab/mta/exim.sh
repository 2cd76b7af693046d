# Exim 4 (Debian's "heavy" daemon, GnuTLS), one monolithic configuration file.
# Sourced by ../lab.
# shellcheck shell=bash

mta_packages() { echo exim4-daemon-heavy exim4-base; }

mta_variants() {
  echo sane open-relay plaintext-auth catchall no-tls expired-cert closed-localhost greylist
}

mta_configure() {
  local v=$1 spool=$LAB_DIR/mx/var/spool
  add_user Debian-exim 5111 /var/spool/exim4 /usr/sbin/nologin
  place_cert "$(cert_of "$v")" 0:5111 640
  mkdir -p "$E/exim4" "$spool/exim4" "$LAB_DIR/mx/var/log/exim4"
  chown 5111:5111 "$spool/exim4" "$LAB_DIR/mx/var/log/exim4"

  local interfaces='<; 0.0.0.0 ; ::0' tls='tls_advertise_hosts = *' main='' ports='25 : 587 : 465'
  local relay_hosts='<; 127.0.0.1 ; ::1' size=10M cert=/etc/lab-tls/server
  local chars='  deny    domains = +local_domains
          local_parts = ^[.] : ^.*[@%!/|]
          message = Restricted characters in address
  deny    domains = !+local_domains
          local_parts = ^[./|] : ^.*[@%!] : ^.*/\\.\\./
          message = Restricted characters in address'
  local postmaster='  accept  local_parts = postmaster
          domains = +local_domains'
  local early='' before_relay='' connect='' helo='' mail='' vrfy=''
  local verify_local='  require verify = recipient'
  # AUTH is on the submission ports alone, and there only inside TLS
  local auth_hosts='${if and{{def:tls_in_cipher}{!eq{$received_port}{25}}}{*}{}}'
  local auth_ok='${if and{{eq{$auth2}{'"$LAB_USER"'}}{eq{$auth3}{'"$LAB_PASSWORD"'}}}}'
  local login_ok='${if and{{eq{$auth1}{'"$LAB_USER"'}}{eq{$auth2}{'"$LAB_PASSWORD"'}}}}'
  local local_router='' last_router=''
  case $v in
    sane|expired-cert) ;;
    open-relay) relay_hosts='*' ;;
    plaintext-auth) auth_hosts='*' ;;
    catchall) last_router=$'catchall:\n  driver = redirect\n  domains = +local_domains\n  data = '"$LAB_USER@$LAB_DOMAIN" ;;
    no-tls) tls='tls_advertise_hosts =' ports='25 : 587' auth_hosts='${if !eq{$received_port}{25}{*}{}}' ;;
    closed-localhost)
      relay_hosts='<; 192.0.2.25'
      connect='  deny    hosts = <; 127.0.0.1 ; ::1
          message = No local clients here' ;;
    greylist)
      early='  defer   !hosts = +relay_from_hosts
          !authenticated = *
          condition = ${if match{${readsocket{/run/greylist.sock}{$sender_host_address $sender_address $local_part@$domain\n}{5s}{}{}}}{DEFER}}
          message = 4.7.1 Greylisted, try again in 5 seconds' ;;
  esac
  cat > "$E/exim4/exim4.conf" <<C
primary_hostname = mx.$LAB_DOMAIN
qualify_domain = $LAB_DOMAIN
domainlist local_domains = $LAB_DOMAIN : mx.$LAB_DOMAIN : localhost
hostlist relay_from_hosts = $relay_hosts
local_interfaces = $interfaces
daemon_smtp_ports = $ports
tls_on_connect_ports = 465
$tls
tls_certificate = $cert.pem
tls_privatekey = $cert.key
auth_advertise_hosts = $auth_hosts
message_size_limit = $size
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
log_selector = +smtp_protocol_error +smtp_syntax_error +tls_peerdn
exim_user = Debian-exim
exim_group = Debian-exim
never_users = root
keep_environment =
smtp_accept_max = 60
timeout_frozen_after = 1h
ignore_bounce_errors_after = 1h
$main
$vrfy
acl_smtp_connect = acl_connect
acl_smtp_helo = acl_helo
acl_smtp_mail = acl_mail
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = accept

begin acl
acl_connect:
$connect
  accept
acl_helo:
$helo
  accept
acl_mail:
$mail
  accept
acl_rcpt:
  accept  hosts = :
$chars
$early
$postmaster
  require verify = sender
  accept  authenticated = *
  deny    condition = \${if !eq{\$received_port}{25}}
          message = Authentication required
  accept  hosts = +relay_from_hosts
$before_relay
  require message = relay not permitted
          domains = +local_domains
$verify_local
  accept

begin routers
remote:
  driver = dnslookup
  domains = !+local_domains
  transport = remote_smtp
  no_more
$local_router
localuser:
  driver = accept
  domains = +local_domains
  check_local_user
  local_part_suffix = +*
  local_part_suffix_optional
  transport = maildir
$last_router

begin transports
remote_smtp:
  driver = smtp
maildir:
  driver = appendfile
  maildir_format
  directory = \$home/Maildir
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add

begin retry
* * F,1h,1m

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_set_id = \$auth2
  server_condition = $auth_ok
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_set_id = \$auth1
  server_condition = $login_ok
C
}

mta_start() {
  case $1 in greylist)
    daemon mx greylist "$(python)" "$SRC/lib/greylist.py" /run/greylist.sock 5
    wait_for 5 "the greylist policy" test -S "$LAB_DIR/mx/run/greylist.sock" ;;
  esac
  enter mx exim4 -bV > "$LAB_DIR/mx/exim-check.log" 2>&1 ||
    die "exim does not take its configuration: $(tail -3 "$LAB_DIR/mx/exim-check.log")"
  daemon mx exim exim4 -bdf -q15s
}

mta_ready() {
  wait_for 20 "exim" listening mx 192.0.2.25 25
  wait_for 20 "exim" listening mx 192.0.2.25 587
}

mta_queue() { enter mx exim4 -bp; }
