#!/bin/sh
# onemcp @VERSION@ in one file. What follows after these lines is a compressed archive, which is
# unpacked the first time, to $CACHE_DIRECTORY, $XDG_CACHE_HOME, ~/.cache or $TMPDIR, whichever lets
# programs be written and run. Then this process becomes the program: nothing stays in between.

case $0 in
    /*) self=$0 ;;
    ./*) self=$PWD/${0#./} ;;
    *) self=$PWD/$0 ;; # the kernel says where in $PATH it was found
esac

start() { # DIRECTORY ARGUMENTS...: become the program if it is there, is ours, and may be run
    program=$1/@NAME@/onemcp
    shift
    [ -O "$program" ] && [ -x "$program" ] || return 1
    ONEMCP_EXECUTABLE=$self
    export ONEMCP_EXECUTABLE
    exec "$program" "$@"
}

unpack() ( # DIRECTORY: unpack the program there, whole or not at all
    PATH=/usr/bin:/bin:${PATH:-}
    umask 077
    mkdir -p "$1" && [ -O "$1" ] || exit 1
    new=$1/.@NAME@.$$
    mkdir "$new" || exit 1
    trap 'rm -rf "$new"' EXIT
    tail -c +@OFFSET@ "$self" | gzip -dc | tar -xf - -C "$new" || exit 1
    mv "$new/@NAME@" "$1/" || [ -x "$1/@NAME@/onemcp" ] # or somebody else was faster
) 2>/dev/null

for way in start unpack; do
    for place in \
        "${CACHE_DIRECTORY:+${CACHE_DIRECTORY%%:*}}" \
        "${XDG_CACHE_HOME:+$XDG_CACHE_HOME/onemcp}" \
        "${HOME:+$HOME/.cache/onemcp}" \
        "${TMPDIR:-/tmp}/onemcp-$(PATH=/usr/bin:/bin:${PATH:-} id -u)"
    do
        [ -n "$place" ] || continue
        if [ "$way" = unpack ]; then
            unpack "$place" || continue
        fi
        start "$place" "$@"
    done
done
echo "Error: onemcp can be unpacked nowhere: set XDG_CACHE_HOME to a directory of your own on a" \
    "file system with room for it that is not mounted noexec; tail, gzip and tar are needed" >&2
exit 73
