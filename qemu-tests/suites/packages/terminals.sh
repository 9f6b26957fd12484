# tmux, screen, script and expect: terminals in terminals.
export LC_ALL=C.UTF-8 TERM=xterm-256color TMUX_TMPDIR=$PWD HOME=$PWD SHELL=/bin/sh
T="tmux -f /dev/null -L x"
$T new-session -d -s s -x 80 -y 24 'PS1="$ " exec sh' || echo no session
w() { for i in $(seq 60); do $T capture-pane -p -t $1 | grep -q "$2" && return; sleep 0.25; done; echo "timeout $2"; $T capture-pane -p -t $1; }
$T send-keys -t s 'echo sum $((6*7)); stty size' Enter; w s 'sum 42'; w s '^24 80'; $T capture-pane -p -t s | grep -E '^24 80'
$T split-window -t s -h 'exec sleep 100'; $T list-panes -t s | cut -d' ' -f1-2; $T send-keys -t s.0 'stty size' Enter; w s.0 '^24 40'; $T capture-pane -p -t s.0 | grep '^24 40'
$T new-window -t s: 'seq 50; exec cat'; w s:1 '^50'; $T send-keys -t s:1 hello Enter; w s:1 hello; $T capture-pane -p -t s:1 -S - | grep -c .
$T resize-window -t s -x 100 -y 30; $T display -p -t s '#{window_width}x#{window_height}'
$T send-keys -t s:1 C-c; sleep 1; $T list-windows -t s | wc -l
$T set-buffer hey; $T show-buffer; echo
$T kill-server; sleep 0.5; $T ls 2>&1 | cut -c1-17
script -qc 'stty size; tty' /dev/null < /dev/null | tr -d '\r' | sed 's,[0-9]*$,,'
export SCREENDIR=$PWD/sd; mkdir -m 700 sd; screen -c /dev/null -dmS one sh; sleep 1; screen -c /dev/null -S one -X stuff 'echo scr $((5*5)) > scr.out
'; for i in $(seq 20); do test -s scr.out && break; sleep 0.3; done; cat scr.out; screen -ls | grep -c one; screen -S one -X quit; sleep 0.5; screen -ls | grep -c 'one' 
cat > e.exp <<END
set timeout 20
spawn sh
expect -re {[\$#] }
send "expr 90 - 9\r"
expect "81"
send "exit 3\r"
expect eof
lassign [wait] p s o v
puts "status \$v"
END
expect e.exp | tail -1 | sed 's/^# //'
