# Threads that wait for each other, and files by way of mmap and native aio.
sysbench cpu --threads=3 --events=60 --time=0 --cpu-max-prime=500 run | grep -E 'total number'
sysbench threads --threads=4 --events=40 --time=0 --thread-yields=20 run | grep -E 'total number'
sysbench mutex --threads=3 --mutex-num=16 --mutex-locks=200 --mutex-loops=100 run | grep -E 'total number'
sysbench memory --threads=2 --memory-block-size=64K --memory-total-size=8M run | grep -E 'Total operations' | cut -d'(' -f1
sysbench fileio --file-num=4 --file-total-size=2M --file-test-mode=rndrw --validate=on prepare | grep -E 'bytes written' | cut -d' ' -f1-3
sysbench fileio --file-num=4 --file-total-size=2M --file-test-mode=rndrw --events=100 --time=0 --threads=2 --validate=on run > r; echo $?
sysbench fileio --file-num=4 --file-total-size=2M --file-io-mode=mmap --file-test-mode=rndrw --events=60 --time=0 --threads=2 run > r; echo $?
sysbench fileio --file-num=4 --file-total-size=2M --file-io-mode=async --file-test-mode=rndrd --events=60 --time=0 --threads=2 run > r; echo $?
sysbench fileio --file-num=4 cleanup | tail -n 1
ioping -q -c 3 -i 0.05 . > i; echo $?; ioping -c 2 -A -q . > i; echo $?
