#!/bin/sh
# certificates.sh DIRECTORY NAME...: makes DIRECTORY/ca.pem, and DIRECTORY/server.pem (key and certificate of the names, signed by it).
set -eu
mkdir -p "$1"
cd "$1"
shift
names=$(printf ',DNS:%s' "$@")
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2"
openssl req -x509 $key -keyout ca.key -out ca.pem -subj "/CN=test authority" \
  -addext keyUsage=critical,keyCertSign 2>log || { cat log; exit 1; }
openssl req -x509 $key -keyout server.key -out server.crt -CA ca.pem -CAkey ca.key -subj "/CN=$1" \
  -addext "subjectAltName=${names#,}" -addext "basicConstraints=critical,CA:FALSE" 2>log || { cat log; exit 1; }
cat server.key server.crt >server.pem
