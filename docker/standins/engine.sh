# A Docker engine for a machine without one: Debian's packages, unpacked into a folder. docker/test sources this; it needs
# root. It does not change the machine's network: no default bridge, no rules, no forwarding. So containers reach each
# other on the networks of compose, but nothing outside. A build that fetches something uses the host's network (build.yml).
# shellcheck shell=bash

# The archive that this machine installs from.
debian_mirror() {
    local archives
    archives=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null) || true
    if [ -z "$archives" ]; then
        echo 'no archive of Debian is named in /etc/apt/sources.list or sources.list.d' >&2
        return 1
    fi
    echo "${archives%%$'\n'*}"
}

# engine_unpack DIR: unpacks programs to DIR/usr. Engine and compose come from trixie, because bookworm lacks this compose.
# The programs that they execute come from bookworm, because trixie's runc needs a newer libc.
engine_unpack() {
    local dir=$1 package
    mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
    for suite in bookworm trixie; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $suite main"
    done >"$dir/apt/sources.list"
    local options=(
        -o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt/cache"
        -o Acquire::Languages=none -o APT::Sandbox::User=root
    )
    apt-get --quiet --quiet "${options[@]}" update
    (cd "$dir/apt" && apt-get --quiet --quiet "${options[@]}" download \
        {docker.io,docker-cli,docker-compose,docker-buildx,containerd}/trixie {runc,tini,mmdebstrap}/bookworm)
    for package in "$dir"/apt/*.deb; do dpkg-deb --extract "$package" "$dir"; done
    rm -r "$dir/apt"
}

# engine_start DIR: starts the engine, sets PATH and the DOCKER_ variables, and returns when it answers.
engine_start() {
    local dir=$1
    # Containers find each other's names by rules inside of their networks.
    if ! command -v iptables >/dev/null; then
        apt-get --quiet --quiet update
        apt-get --quiet --quiet install --yes --no-install-recommends iptables
    fi
    engine_unpack "$dir"
    export PATH=$dir/usr/bin:$dir/usr/sbin:$PATH DOCKER_HOST=unix://$dir/docker.sock DOCKER_CONFIG=$dir/config
    mkdir -p "$DOCKER_CONFIG"
    ln -s "$dir/usr/libexec/docker/cli-plugins" "$DOCKER_CONFIG/cli-plugins"
    # It ends with this shell in any case.
    setpriv --pdeathsig TERM dockerd --host "$DOCKER_HOST" --data-root "$dir/data" --exec-root "$dir/exec" \
        --pidfile "$dir/dockerd.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false \
        >"$dir/dockerd.log" 2>&1 </dev/null &
    engine_pid=$!
    local deadline=$((SECONDS + 60))
    until docker version >/dev/null 2>&1; do
        if ! kill -0 "$engine_pid" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            tail -n 20 "$dir/dockerd.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

# engine_stop DIR: stops the engine and removes its data.
engine_stop() {
    local dir=$1
    if [ -n "${engine_pid:-}" ]; then
        kill "$engine_pid" 2>/dev/null || true
        wait "$engine_pid" 2>/dev/null || true
    fi
    # Its mounts: namespaces of networks, and layers of a container that did not stop.
    awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort --reverse | xargs --no-run-if-empty umount
    rm -rf "$dir"
}
