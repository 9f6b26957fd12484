# A web server with two workers, and who reads from it.
set -e
mkdir -p /var/log/nginx /var/lib/nginx pages
seq 20000 > pages/numbers
cat > nginx.conf << END
daemon on;
user root;
worker_processes 2;
pid $PWD/nginx.pid;
error_log $PWD/error.log;
events {}
http { access_log off; server { listen 8081; root $PWD/pages; } }
END
nginx -c "$PWD/nginx.conf"
for try in 1 2 3 4 5 6 7 8; do
    curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8081/numbers | cmp - pages/numbers
done
kill -QUIT "$(cat nginx.pid)"
while test -e nginx.pid; do sleep 0.2; done
echo all is well
