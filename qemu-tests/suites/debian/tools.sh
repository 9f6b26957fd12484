# Small programs in other languages: Go, Rust, C.
set -e
seq 1000 > numbers
test "$(fzf --filter 777 < numbers)" = 777
test "$(rg -c '7$' numbers)" = 100
test "$(fdfind numbers .)" = ./numbers
test "$(echo '{"a":[1,2,3]}' | jq -c '.a|map(.*2)')" = "[2,4,6]"
test "$(gawk '{ s += $1 } END { print s }' numbers)" = 500500
test "$(echo 'scale=10; 4*a(1)' | bc -l)" = 3.1415926532
head -c 1000000 /dev/urandom > random
/usr/bin/xz -T2 -k random
/usr/bin/xz -dc random.xz | cmp - random
zstd -q -T2 random -o random.zst
zstd -q -dc random.zst | cmp - random
php8.2 -r 'exit(array_sum(range(1, 10)) == 55 && shell_exec("echo x") == "x\n" ? 0 : 1);'
echo all is well
