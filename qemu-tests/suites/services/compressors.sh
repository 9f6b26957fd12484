# Compressors with threads: what one packs another unpacks.
seq 120000 > in
pigz -p 4 -b 128 -c in > in.gz; busybox gzip -dc in.gz | md5sum; pigz -dc in.gz | md5sum; pigz -t in.gz; echo $?
pigz -p 3 -11 -b 512 -I 2 -c < in | pigz -d | md5sum
pbzip2 -p3 -b1 -c in > in.bz2; pbzip2 -dc in.bz2 | md5sum; busybox bzip2 -dc in.bz2 | md5sum; pbzip2 -t in.bz2; echo $?
lbzip2 -n 3 -c in > l.bz2; lbzip2 -n 3 -dc l.bz2 | md5sum
plzip -n 3 -B 64KiB -c in > in.lz; plzip -n 3 -dc in.lz | md5sum; plzip -t in.lz; echo $?
lz4 -q -c in > in.lz4; lz4 -q -dc in.lz4 | md5sum
/usr/bin/xz -T3 --block-size=100000 -1 -c in > in.xz; /usr/bin/xz -T3 -dc in.xz | md5sum; /usr/bin/xz -l in.xz | tail -n 1 | tr -s ' ' | cut -d' ' -f2,3
zstd -q -T3 -B1M -c in > b.zst; zstd -q -dc b.zst | cmp - in && echo same
