# A database: its processes share memory and talk by sockets and signals.
set -e
mkdir -p /var/run/postgresql data
chmod 777 /var/run/postgresql "$PWD"
chown nobody data
cat > all.sh << 'END'
set -e
bin=/usr/lib/postgresql/15/bin
ask() { $bin/psql -h /var/run/postgresql -d postgres -A -t -c "$1"; }
$bin/initdb -D data -N -A trust > init.log
$bin/pg_ctl -D data -w -t 300 -l server.log start
ask "create table numbers as select n, n * n as square from generate_series(1, 5000) n"
ask "create index on numbers (square)"
test "$(ask 'select sum(square) from numbers')" = 41679167500
$bin/pg_ctl -D data -w -t 300 restart -l server.log
test "$(ask 'select n from numbers where square = 1522756')" = 1234
$bin/pg_ctl -D data -w -t 300 stop
END
su -s /bin/sh nobody -c "sh all.sh"
echo all is well
