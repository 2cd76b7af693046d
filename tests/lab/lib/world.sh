# What surrounds the two hosts: certificates, DNS, the foreign mail exchanger.
# Sourced by ../lab.
# shellcheck shell=bash

# tls/ca.pem signs good (right name) and expired; both have one key, which is the
# one the TLSA record names.
make_certs() {
  local t=$LAB_DIR/tls
  mkdir -p "$t"
  (
    cd "$t"
    exec 2>openssl.log
    now() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 60 -sha256 \
      -subj "/O=Lab/CN=Lab Test CA" -keyout ca.key -out ca.pem \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
    openssl genrsa -out good.key 2048
    : > index.txt; echo 1000 > serial
    cat > ca.cnf <<CNF
[ca]
default_ca = d
[d]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = p
unique_subject = no
[p]
commonName = supplied
CNF
    issue() { # NAME START END CN SAN
      [ "$1" = good ] || cp good.key "$1.key"
      openssl req -new -key "$1.key" -subj "/CN=$4" -out "$1.csr"
      printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n' "$5" > "$1.ext"
      openssl ca -batch -notext -config ca.cnf -extfile "$1.ext" \
        -startdate "$2" -enddate "$3" -in "$1.csr" -out "$1.pem" >/dev/null
      cat ca.pem >> "$1.pem"
    }
    local names="DNS:mx.$LAB_DOMAIN,DNS:$LAB_DOMAIN"
    issue good "$(now '1 day ago')" "$(now '30 days')" "mx.$LAB_DOMAIN" "$names"
    issue expired "$(now '40 days ago')" "$(now '10 days ago')" "mx.$LAB_DOMAIN" "$names"
    openssl x509 -in good.pem -noout -pubkey | openssl pkey -pubin -outform DER |
      openssl dgst -sha256 -r | cut -d' ' -f1 > spki.sha256
    rm -f ./*.csr ./*.ext ./*.old ./*.attr 10*.pem index.txt serial ca.cnf
  ) || { cat "$t/openssl.log" >&2; die "certificates failed"; }
}

# The certificate of a variant, where the MTA reads it.
place_cert() { # NAME OWNER MODE
  local d=$LAB_DIR/mx/etc/lab-tls
  mkdir -p "$d"
  cp "$LAB_DIR/tls/$1.pem" "$d/server.pem"
  cp "$LAB_DIR/tls/$1.key" "$d/server.key"
  cat "$d/server.key" "$d/server.pem" > "$d/combined.pem"
  chown -R "$2" "$d"
  chmod 755 "$d"; chmod "$3" "$d/server.key" "$d/combined.pem"; chmod 644 "$d/server.pem"
}
cert_of() {
  case $1 in
    expired-cert) echo expired ;;
    *) echo good ;;
  esac
}

make_zones() {
  local z=$LAB_DIR/world/zones soa='@ 300 IN SOA ns.lab.test. hostmaster.lab.test. 1 3600 600 86400 60'
  mkdir -p "$z"
  { echo "$soa"; echo "@ IN NS ns.lab.test."; } > "$z/stub"
  cat "$z/stub" - > "$z/$LAB_DOMAIN" <<Z
@ IN MX 10 mx
@ IN A 192.0.2.25
@ IN TXT "v=spf1 mx -all"
@ IN CAA 0 issue "lab.test"
mx IN A 192.0.2.25
mx IN AAAA 2001:db8::25
mx IN TXT "v=spf1 a -all"
_dmarc IN TXT "v=DMARC1; p=reject; rua=mailto:postmaster@$LAB_DOMAIN"
_smtp._tls IN TXT "v=TLSRPTv1; rua=mailto:postmaster@$LAB_DOMAIN"
_25._tcp.mx IN TLSA 3 1 1 $(cat "$LAB_DIR/tls/spki.sha256")
_submission._tcp IN SRV 0 1 587 mx
_submissions._tcp IN SRV 0 1 465 mx
Z
  cat "$z/stub" - > "$z/$LAB_FOREIGN" <<'Z'
@ IN MX 10 mx
@ IN TXT "v=spf1 mx -all"
mx IN A 203.0.113.25
mx IN AAAA 2001:db8:53::25
Z
  cat "$z/stub" - > "$z/$LAB_PROBE" <<Z
@ IN MX 10 mx
@ IN TXT "v=spf1 mx a:probe.$LAB_PROBE -all"
mx IN A 203.0.113.26
mx IN AAAA 2001:db8:53::26
probe IN A 198.51.100.7
probe IN AAAA 2001:db8:7::7
Z
  cat "$z/stub" - > "$z/lab.test" <<'Z'
ns IN A 203.0.113.53
ns IN AAAA 2001:db8:53::53
Z
  { cat "$z/stub"; echo "25 IN PTR mx.$LAB_DOMAIN."; } > "$z/2.0.192.in-addr.arpa"
  { cat "$z/stub"; echo "7 IN PTR probe.$LAB_PROBE."; } > "$z/100.51.198.in-addr.arpa"
  printf '%s\n' "$(cat "$z/stub")" "25 IN PTR mx.$LAB_FOREIGN." "26 IN PTR mx.$LAB_PROBE." "53 IN PTR ns.lab.test." > "$z/113.0.203.in-addr.arpa"
  {
    cat "$z/stub"
    echo '5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 IN PTR mx.'"$LAB_DOMAIN."
    echo '7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.0.0.0 IN PTR probe.'"$LAB_PROBE."
  } > "$z/8.b.d.0.1.0.0.2.ip6.arpa"
  printf '. 300 IN SOA ns.lab.test. hostmaster.lab.test. 1 3600 600 86400 60\n. 300 IN NS ns.lab.test.\n' > "$z/root"
}

start_world() {
  local w=$LAB_DIR/world z k f
  make_zones
  z=$w/zones
  # $LAB_DOMAIN is signed, its key is unbound's trust anchor
  (
    cd "$z"
    exec >"$w/sign.log" 2>&1
    k=$(enter world bash -c 'cd "$0" && ldns-keygen -a ECDSAP256SHA256 -k -r /dev/urandom "$1"' "$z" "$LAB_DOMAIN")
    enter world bash -c 'cd "$0" && ldns-signzone -o "$2" -f "$2.signed" "$2" "$1"' "$z" "$k" "$LAB_DOMAIN"
    mv "$LAB_DOMAIN.signed" "$LAB_DOMAIN"
    mv "$k.key" anchor.key
  ) || { cat "$w/sign.log" >&2; die "signing the zone failed"; }
  {
    cat <<C
server:
  directory: "$w"
  chroot: ""
  username: ""
  pidfile: "$w/run/unbound.pid"
  use-syslog: no
  logfile: ""
  verbosity: 1
  interface: 203.0.113.53
  interface: 2001:db8:53::53
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-daemonize: no
  num-threads: 1
  module-config: "validator iterator"
  trust-anchor-file: "$z/anchor.key"
  hide-identity: yes
  qname-minimisation: no
  local-zone: "test." nodefault
C
    for f in 2.0.192.in-addr.arpa 100.51.198.in-addr.arpa 113.0.203.in-addr.arpa 8.b.d.0.1.0.0.2.ip6.arpa; do
      printf '  local-zone: "%s." nodefault\n' "$f"
    done
    printf 'remote-control:\n  control-enable: no\n'
    for f in "$z"/*.test "$z"/*.arpa; do
      f=${f##*/}
      printf 'auth-zone:\n  name: "%s"\n  zonefile: "%s"\n  for-downstream: no\n  for-upstream: yes\n' "$f" "$z/$f"
    done
    printf 'auth-zone:\n  name: "."\n  zonefile: "%s"\n  for-downstream: no\n  for-upstream: yes\n' "$z/root"
  } > "$w/unbound.conf"
  daemon world unbound unbound -c "$w/unbound.conf"
  daemon world witness "$(python)" "$SRC/lib/witness.py" "$w/witness.jsonl" \
    "mx.$LAB_FOREIGN=203.0.113.25,2001:db8:53::25" "mx.$LAB_PROBE=203.0.113.26,2001:db8:53::26"
  wait_for 10 "the name server" listening world 203.0.113.53 53
  wait_for 10 "the witness" listening world 203.0.113.25 25
  wait_for 10 "the witness" listening world 203.0.113.26 25
}
