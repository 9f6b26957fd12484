# A tree with a history: rebase, merge, packs, bundles, a server and a push to it, bisecting with a program.
export HOME=$PWD GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' PAGER=cat GIT_PAGER=cat
git config --global user.email a@b; git config --global user.name N; git config --global init.defaultBranch main
git config --global advice.detachedHead false; git config --global protocol.file.allow always; git config --global --add safe.directory '*'
git init -q one; cd one
mkdir -p d/e; for i in $(seq 60); do seq $((i*7)) > d/f$i; seq $i 200 > d/e/g$i; done
ln -s d/f1 link; chmod 755 d/f2
git add -A; git commit -qm first; git rev-parse HEAD
for i in 1 2 3 4 5 6; do echo $i >> d/f$i; git mv d/e/g$i d/e/h$i; git commit -qam "c$i"; done
git rev-parse HEAD
git log -p --stat -M | sha1sum
git branch side HEAD~3; git checkout -q side; echo x > new; git add new; git commit -qm side
git rebase -q main; git rev-parse HEAD
git checkout -q main; git merge -q --no-ff -m merge side; git log --graph --oneline | cat
git tag -a v1 -m tag; git describe
git gc -q --aggressive --prune=now; git count-objects -v | grep -v size; git fsck --full --strict
git grep -c '77' | sha1sum
git blame d/f3 | sha1sum
echo junk >> d/f9; git stash -q; git status --short; git stash pop -q; git status --short; git checkout -q .
git worktree add -q ../wt HEAD~2; ls ../wt | wc -l
git bundle create -q ../b.bundle --all; cd ..
git clone -q b.bundle frombundle; git -C frombundle rev-parse HEAD
git clone -q file://$PWD/one shallow --depth 1; git -C shallow log --oneline | wc -l
git -C one fast-export --all | sha1sum
mkdir fi; (cd fi; git init -q; git -C ../one fast-export --all | git fast-import --quiet; git rev-parse main)
git clone -q --bare one bare.git; touch bare.git/git-daemon-export-ok
git daemon --reuseaddr --base-path=$PWD --listen=127.0.0.1 --port=9419 --enable=receive-pack --pid-file=$PWD/gd.pid --detach
for i in 1 2 3 4 5 6 7 8 9; do git ls-remote git://127.0.0.1:9419/bare.git > /dev/null 2>&1 && break; sleep 0.5; done
git clone -q git://127.0.0.1:9419/bare.git net; cd net; echo n > n; git add n; git commit -qm net; git push -q origin main; cd ..
git -C bare.git rev-parse main; kill $(cat $PWD/gd.pid ../gd.pid 2>/dev/null | head -1)
cd one; git bisect start HEAD HEAD~5 > /dev/null 2>&1; git bisect run sh -c 'test ! -e d/e/h4' | grep 'first bad'; git bisect reset -q
git archive HEAD | tar tf - | wc -l; git repack -adfq --threads=2; git fsck; git reflog | wc -l
git -c core.fsmonitor=false status -s | wc -l
printf '#!/bin/sh\nexit 1\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo q > q; git add q; git commit -qm no || echo refused

