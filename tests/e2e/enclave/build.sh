#!/bin/bash
# build.sh IMAGE OUT: makes the initramfs of the nested enclave from what image.sh has put into the directory IMAGE, and the
# forwarder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
image=$1
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

mkdir -p "$(dirname "$out")" "$root"/{bin,modules,proc,dev}
install "$image/busybox" "$root/bin/"
install "$here/init" "$here/../../../build/vsock-forwarder" "$root/"
gcc -O2 -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -static -o "$root/client" "$here/client.c"
kernel=$(echo "$image"/modules/*/kernel)
cp "$kernel"/drivers/virtio/virtio{,_ring,_pci,_pci_legacy_dev,_pci_modern_dev}.ko "$root/modules/"
cp "$kernel"/net/vmw_vsock/{vsock,vmw_vsock_virtio_transport,vmw_vsock_virtio_transport_common}.ko "$root/modules/"
(cd "$root" && find . | cpio --quiet -o -H newc --owner 0:0 | gzip -1) >"$work/enclave.gz"
mv "$work/enclave.gz" "$out"
