# Every way of input and output that fio knows here, and what was written is verified.
for e in sync psync vsync pvsync pvsync2 libaio posixaio mmap splice; do
 o=; test $e = libaio && o='--iodepth=8'; test $e = posixaio && o='--iodepth=4'
 fio --name=j --ioengine=$e $o --rw=randrw --rwmixread=40 --bs=4k-16k --size=512k --numjobs=2 --verify=crc32c --verify_fatal=1 --randrepeat=1 --allrandrepeat=1 --do_verify=1 --directory=. --thread=0 --output-format=normal > f.$e 2>&1; echo $e $?; grep -o 'err= *[0-9]*' f.$e | sort | uniq -c; rm -f j.*
done
fio --name=j --ioengine=psync --rw=write --bs=8k --size=1m --numjobs=3 --thread --verify=sha256 --directory=. > f.t 2>&1; echo thread $?; grep -o 'err= *[0-9]*' f.t | sort | uniq -c
fio --name=p --ioengine=psync --rw=randwrite --bs=4k --size=256k --fsync=4 --numjobs=2 --directory=. --group_reporting --rate_iops=200 > f.p 2>&1; echo rate $?
