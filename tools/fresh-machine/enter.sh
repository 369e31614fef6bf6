#!/bin/sh
# Runs a command in a root as a container would: mounts of its own, which end with it, so that nothing is left on this
# machine; a minimal /dev; /sys to read; processes of its own. Called by root.mjs inside `unshare --mount --pid --fork`.
#
#   enter.sh ROOT USER FOLDER MOUNTS COMMAND...     MOUNTS: a file of lines "source<TAB>target<TAB>ro|rw"
set -eu
root=$1 user=$2 folder=$3 mounts=$4
shift 4

mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
for device in null zero full random urandom tty; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

while IFS="$(printf '\t')" read -r source target mode; do
  if [ -d "$source" ]; then
    mkdir -p "$root$target"
  else
    mkdir -p "$(dirname "$root$target")"
    [ -e "$root$target" ] || : >"$root$target"
  fi
  mount --bind "$source" "$root$target"
  [ "$mode" = rw ] || mount -o remount,bind,ro "$root$target"
done <"$mounts"

# chroot's own --userspec reads the root's /etc/passwd, so names mean what they mean there.
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$folder" "$@"
