# A repository with a history, checked, packed and cloned.
set -e
export HOME=$PWD
git config --global user.email somebody@example.org
git config --global user.name Somebody
git init -q one
cd one
for number in 1 2 3 4 5; do
    seq $((number * 100)) > "file$number"
    git add .
    git commit -q -m "change $number"
done
git fsck --strict
git gc -q
git clone -q . ../two
cd ../two
test "$(git log --oneline | wc -l)" = 5
git checkout -q HEAD~2
test ! -e file4
seq 300 | cmp - file3
echo all is well
