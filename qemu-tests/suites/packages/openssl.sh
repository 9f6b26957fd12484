# Servers and clients of TLS, keys, signatures, ciphers, processes that measure side by side.
openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 100 -subj /CN=localhost 2> /dev/null; openssl x509 -in c.pem -noout -subject
openssl ecparam -genkey -name prime256v1 -out ec.pem 2>/dev/null; openssl req -x509 -key ec.pem -out ecc.pem -days 9 -subj /CN=ec 2>/dev/null
openssl s_server -accept 4433 -cert c.pem -key k.pem -www -quiet > srv.log 2>&1 & S=$!
for i in $(seq 30); do echo | openssl s_client -connect 127.0.0.1:4433 > cl.log 2>&1 && break; sleep 0.3; done
printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect 127.0.0.1:4433 -quiet -ign_eof -CAfile c.pem -verify_return_error 2> /dev/null | grep -c 'Ciphers supported'
for v in tls1_2 tls1_3; do echo Q | openssl s_client -connect 127.0.0.1:4433 -$v 2>/dev/null | grep -E '^New,' ; done
kill $S; wait $S 2>/dev/null
seq 20000 > pl; openssl s_server -accept 4434 -cert ecc.pem -key ec.pem -WWW > srv2.log 2>&1 & S=$!; sleep 1
printf 'GET /pl HTTP/1.0\r\n\r\n' | openssl s_client -connect 127.0.0.1:4434 -quiet -ign_eof 2> /dev/null | sed 1,/^.$/d | sha1sum; kill $S
openssl s_server -accept $PWD/ss.sock -unix $PWD/u.sock -cert c.pem -key k.pem -rev -quiet > /dev/null 2>&1 & S=$!; sleep 1; (echo abc; sleep 1) | timeout 4 openssl s_client -unix u.sock -quiet 2> /dev/null; kill $S
openssl dgst -sha256 pl; openssl enc -aes-256-cbc -pbkdf2 -k x -in pl -out pl.enc; openssl enc -d -aes-256-cbc -pbkdf2 -k x -in pl.enc | cmp - pl && echo enc
openssl dgst -sha256 -sign k.pem -out sig pl; openssl x509 -in c.pem -pubkey -noout > pub; openssl dgst -sha256 -verify pub -signature sig pl
openssl dhparam -dsaparam 512 2>/dev/null | wc -l; openssl prime 1000003; openssl rand -hex 8 | wc -c; openssl passwd -6 -salt ab cd
openssl genpkey -algorithm ed25519 | openssl pkey -noout -text | head -1
openssl speed -seconds 1 -multi 2 sha256 2>/dev/null | grep -c sha256
