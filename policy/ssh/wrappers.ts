/**
 * Programs that run what their words, files or environment say, and shell built-ins that change what later words mean or evaluate their
 * words once more (`printf -v 'a[$(id)]'`). A wildcard in an Allow rule never covers them: its first word has to name them.
 */
const LISTS: readonly string[] = [
  // Shells
  'ash bash busybox csh dash elvish fish ksh ksh93 lksh mksh nu oil osh pdksh posh powershell pwsh rbash rc rksh sash sh slsh tcsh toybox xonsh yash ysh zsh hush exe run-help rlksh rmksh rzsh sulogin sushell ksshell lshell',
  // Built-ins of bash, dash, zsh and ksh: all but those below and echo, cd, pwd, true, false, kill, type, umask and their like
  '. source eval exec command builtin trap alias unalias set unset shopt enable export declare typeset local readonly integer float nameref let [ [[ print read mapfile readarray getopts logout bye bind complete compgen compopt fc history hist r coproc time times function select bg fg jobs disown suspend ulimit limit unlimit hash rehash unhash setopt unsetopt emulate autoload zmodload zle zcompile zstyle zformat zparseopts zregexparse bindkey sched vared noglob nocorrect repeat functions private pushln getln print log ttyctl sysread syswrite sysopen ztcp zsocket zpty zsystem zftp zprof unfunction disable - caller dirs pushd popd help redirect compound enum global stop mknod',
  // Other identities, namespaces, limits, sessions
  'sudo sudoedit su doas run0 pkexec runuser setpriv setuidgid chpst softlimit envdir envuidgid setlock capsh chroot fakeroot fakechroot unshare nsenter ip firejail bwrap bubblewrap systemd-run systemd-nspawn systemd-inhibit systemd-cat machinectl loginctl busctl dbus-run-session dbus-launch dbus-send gdbus sg newgrp login start-stop-daemon daemonize daemon setsid nohup nice ionice chrt taskset numactl cpulimit choom prlimit timeout gtimeout stdbuf unbuffer time watch env printenv setarch linux32 linux64 i386 x86_64 uname26 catchsegv proot cgexec cgclassify aa-exec runcon newrole flock lckdo chronic ifne parallel sem xargs rush rlwrap script scriptreplay expect unbuffer dtach abduco reptyr screen tmux tmate byobu zellij at batch atd crontab run-parts run-one svc s6-setuidgid s6-envdir runsv runit supervisorctl torify torsocks proxychains proxychains4 tsocks faketime eatmydata stress-ng hyperfine multitime entr inotifywait direnv dotenv dumb-init tini tini-static docker-init catatonit gosu su-exec agetty getty mingetty openvt ksu calife dzdo opendoas please pbrun schroot pivot_root switch_root fstab-decode memusage sotruss scriptlive luit uclampset pexec aoss padsp scl mpirun mpiexec orterun srun salloc sbatch qsub bsub anacron cron crond fcron invoke-rc.d tcpserver inetd xinetd ttyd gotty websocketd spawn-fcgi wine wine64 box64 dosbox kernel-install tuna pg_virtualenv nodemon watchexec reflex air modd foreman honcho overmind hivemind forever pm2 consul envconsul consul-template chamber aws-vault doppler op sops summon teller nomad vault etcdctl tsh cloud-init cloud-init-per cgproxy heaptrack hotspot gprofng gp-collect-app sysprof-cli apptainer singularity toolbox distrobox steam-run supervise svscan multilog fghack pgrphack asciinema ttyrec autoexpect',
  // Interpreters and languages
  'awk gawk mawk nawk original-awk bc dc ed sed gsed perl python pypy jython ipython ruby irb jruby node nodejs deno bun qjs js d8 lua luajit luac php php-cgi php-fpm tclsh wish expect erl elixir iex escript ghc ghci runghc runhaskell stack cabal ocaml ocamlrun utop guile racket scheme sbcl clisp ecl clojure clj java javac jshell jrunscript jjs kotlin kotlinc scala groovy gradle gradlew mvn mvnw ant dotnet mono csi fsi swift go rustc cargo rustup zig nim julia octave gnuplot r rscript maxima gp m4 gdb lldb cgdb perf bpftrace bpftool stap systemtap strace ltrace valgrind rr scanmem jdb pdb pry byebug rake bundle bundler gem npm npx pnpm yarn corepack pip pipx uv poetry conda mamba virtualenv tox nox pytest easy_install cpan cpanm composer phpunit pear prove perldoc perlbug perlthanks pydoc trial twist twistd conch cftp gunicorn uvicorn uwsgi hypercorn celery flask django-admin rails puma unicorn sidekiq ts-node tsx esbuild vite k6 locust msfconsole ginsh gimp cobc javadoc javap jar jarsigner jcmd jdeprscan jdeps jfr jhsdb jimage jinfo jlink jmap jmod jpackage jps jstack jstat jstatd keytool rmiregistry serialver jexec lli llc opt bugpoint gcore gdbtui gdb-add-index ldd cowsay cowthink ppc volatility sqlmap highlight pygmentize ctest fx mlr vd visidata goawk frawk',
  // Editors, pagers, viewers
  'pager editor select-editor sensible-pager sensible-editor sensible-browser vipw vigr visudo bat batcat zless zmore bzless bzmore xzless xzmore patch vi vim vimdiff nvim view rview rvim ex gvim emacs emacsclient nano pico rnano joe jed mcedit micro kak hx helix ne less more most pg lv man info w3m lynx links elinks vifm ranger mc nnn lf alpine pine tig lazygit gitui fzf sk peco lesspipe lessfile vimtutor chromium google-chrome firefox www-browser x-www-browser gnome-www-browser cscope neofetch ug ugrep delta mpv feh libreoffice soffice import identify mogrify composite montage',
  // Building and packages
  'make gmake bmake cmake ninja meson scons bazel rake just task tup gcc g++ cc c++ cpp c89 c99 clang clang++ tcc ld as gfortran gnat gdc dmd libtool pkg-config autoconf automake configure apt apt-get aptitude dpkg dpkg-deb dpkg-reconfigure debconf update-alternatives rpm rpmbuild rpmquery rpmverify rpmdb dnf yum zypper pacman apk opkg snap flatpak brew nix nix-shell nix-env nix-build guix emerge portage checkinstall fpm alien gold rpcgen distcc ccache sccache icecc debuild pbuilder cowbuilder sbuild debootstrap mmdebstrap dpkg-architecture dpkg-buildpackage dpkg-source dpkg-preconfigure debconf-apt-progress add-apt-repository apt-key apt-cdrom apt-config pkg make-first-existing-target spack pyenv rbenv nodenv asdf mise rvm volta',
  // Files and archives with hooks
  'find fd fdfind bfs tar gtar bsdtar star pax cpio zip unzip 7z 7za 7zr rar ar logrotate logsave csplit rename mmv git hg svn svnadmin svnserve bzr darcs fossil cvs etckeeper rcs rsync rclone restic borg duplicity unison scp sftp ssh sshpass ssh-agent ssh-add ssh-keygen ssh-keyscan ssh-copy-id autossh mosh mosh-server dropbear dbclient plink pscp psftp sftp-server internal-sftp telnet rlogin rsh rexec ftp lftp ncftp tftp wget aria2c axel nc ncat netcat socat openssl gnutls-cli stunnel gpg gpg2 gpgsm gpg-agent pass age tcpdump tshark dumpcap wireshark nmap zmap hping3 ettercap openvpn wg-quick wpa_cli pppd iptables iptables-save nft ip6tables sshd sshuttle pssh pdsh clush dsh rsync-ssl rrsync scalar gh hub glab git-lfs gpgtar gpg-connect-agent slattach tc iptables-apply certbot sdiff diff3 rtorrent yt-dlp youtube-dl lwp-request varnishncsa varnishd apache2ctl ifup ifdown ifquery dhclient dhcpcd udhcpc openconnect vpnc pon chat pkcs11-tool p11-kit apachectl apache2 httpd nginx haproxy bconsole mosquitto',
  // Databases, clouds, containers, machines
  'mysql mariadb mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlslap psql pg_dump pg_dumpall pg_restore pg_ctl sqlite sqlite3 sqlplus sqlcmd mongo mongosh mongod redis-cli redis-server cqlsh clickhouse clickhouse-client duckdb docker docker-compose podman nerdctl ctr crictl runc crun buildah skopeo kubectl k3s k9s helm helmfile kustomize oc minikube kind terraform tofu terragrunt pulumi packer vagrant ansible ansible-playbook ansible-console ansible-pull salt salt-call salt-ssh puppet facter chef chef-client cfengine knife fab capistrano gcloud gsutil aws aws-shell az doctl eb heroku fly virsh virt-install qemu qemu-system-x86_64 qemu-img lxc lxc-attach lxc-execute lxd incus vboxmanage xl',
  // The system itself
  'init telinit systemd service rc-service initctl modprobe insmod kmod depmod udevadm debugfs mount umount losetup dmsetup cryptsetup lvm fsck mdadm zpool mkfs ldconfig ld.so ld-linux.so ld-linux-x86-64.so ld-linux-aarch64.so ld-musl-x86_64.so locale-gen iconvconfig dialog whiptail mail mailx mutt sendmail exim exim4 postfix procmail fetchmail formail mutt xdg-open xdg-email run-mailcap see mailcap x-terminal-emulator xterm uxterm urxvt gnome-terminal konsole xdotool xvfb-run xinit startx dbus-monitor ssh-askpass groff troff nroff tbl eqn pic soelim zsoelim tex latex pdftex pdflatex xetex xelatex luatex lualatex dvips pandoc ghostscript gs convert magick imagemagick ffmpeg exiftool enscript a2ps lp lpr cupsfilter espeak ispell aspell yelp evince zathura rpcclient smbclient smbmap net watchman xmllint xsltproc e2scrub gio gapplication open exo-open kde-open mimeopen latexmk msgexec msgfilter scrot pidstat dstat grc xpad tasksh tdbtool jtag runscript cdist check_by_ssh sshfs easyrsa opencode asterisk freeswitch minicom picocom cu crash genie gtester hping iftop htop top btop atop glances ncdu nethogs',
];

const WRAPPERS: ReadonlySet<string> = new Set(LISTS.join(' ').split(' '));
/** A number that a shell may compute: names of arrays run what is in their brackets, and assignments change variables (PATH). */
const COMPUTED = /[[$`(]|[A-Za-z_][A-Za-z0-9_]*\s*([-+*/%&|^<>]*=|\+\+|--)/;
const computes = (words: readonly string[]): boolean => words.some((word) => COMPUTED.test(word));
const counts = (words: readonly string[]): boolean => !words.every((word) => /^[0-9]{1,9}$/.test(word));
const has = (option: RegExp) => (words: readonly string[]) => words.some((word) => option.test(word));

/** Programs that are harmless, but with some words. Long options may be shortened. */
const WITH: ReadonlyMap<string, (words: readonly string[]) => boolean> = new Map([
  ['test', computes],
  ['printf', (words) => words[0]?.startsWith('-') === true || computes(words.slice(1))],
  ...['exit', 'return', 'break', 'continue', 'shift', 'wait'].map((name) => [name, counts] as const),
  ['sort', has(/^--c/)],
  ['curl', has(/^--(eng|conf)|^-[A-Za-z0-9#:]*K/)],
  ['rg', has(/^--(pre|hostname-bin)/)],
  ['ag', has(/^--pag/)],
  ['ack', has(/^--pag/)],
  // A plug-in is code that they load.
  ...['nm', 'ar', 'ranlib'].map((name) => [name, has(/^--pl/)] as const),
  ['install', has(/^--s/)],
  ['split', has(/^--f/)],
]);

/** git-upload-pack runs hooks, and so do its siblings; compilers are there for many machines (`x86_64-linux-gnu-gcc-12`). */
const FAMILIES =
  /^(git|python|perl|ruby|php|lua|node|pip|java|ld|qemu|ansible|docker|systemd|ssh|zsh|bash|dash|ksh|mksh|busybox|fakeroot|lxc|llvm|xdg|cargo|gpg|xtables|ip6?tables|ebtables|arptables)-|-(gcc|g\+\+|cc|c\+\+|cpp|clang|clang\+\+|gfortran|ld|ld\.[a-z]+|gdb|python)(-?[0-9.]+)?$/;

/**
 * An open file in /proc or /dev, such as a shell that is read from (the shell itself is `/proc/self/exe`); and a library that runs programs, as
 * the loader is one.
 */
const OPEN_FILE = /^([0-9]+|stdin)$|\.so(\.[0-9]+)*$/;

/**
 * Whether a program is one of them, by the last part of its path, without its version (`python3.11`, `bash-5.2`, `perl5.36-x86_64`), in
 * any case: there are file systems that do not tell `SUDO` from `sudo`.
 * @param words what follows the program
 */
export function isWrapper(program: string, words: readonly string[]): boolean {
  const base = program.slice(program.lastIndexOf('/') + 1).toLowerCase();
  const sometimes = WITH.get(base);
  if (sometimes !== undefined) return sometimes(words);
  if (WRAPPERS.has(base) || FAMILIES.test(base) || OPEN_FILE.test(base)) return true;
  const plain = base.replace(/\.(exe|sh|py|pl|rb)$/, '').replace(/[-.]?[0-9]+([.-][0-9]+)*[a-z]?$/, '');
  return WRAPPERS.has(plain) || WRAPPERS.has(/^[a-z+]+(?=[0-9.])/.exec(base)?.[0] ?? '');
}
