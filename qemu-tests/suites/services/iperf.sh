# Streams and datagrams between two processes, side by side and both ways.
iperf3 -s -1 -p 5301 -J > s.json 2>&1 & sleep 0.7; iperf3 -c 127.0.0.1 -p 5301 -n 2M -J > c.json; echo $?; wait; grep -c '"sum_received"' c.json s.json
iperf3 -s -1 -p 5302 > s 2>&1 & sleep 0.7; iperf3 -c 127.0.0.1 -p 5302 -n 1M -P 4 -R > c 2>&1; echo $?; wait; grep -c SUM s c | sed 's/[0-9]*$/n/'
iperf3 -s -1 -p 5303 > s 2>&1 & sleep 0.7; iperf3 -c 127.0.0.1 -p 5303 -u -b 4M -t 1 > c 2>&1; echo $?; wait; grep -c Done c
iperf3 -s -1 -p 5304 > s 2>&1 & sleep 0.7; iperf3 -c 127.0.0.1 -p 5304 --bidir -n 500K -Z > c 2>&1; echo $?; wait; tail -n 1 c
