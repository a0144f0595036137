package tool

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

const dumpHelp = `
Usage: partlogd dump [flags] FILE|DIR ...
       partlogd dump --topic TOPIC [--partition N] [flags]

Shows files of partitions, as kafka-dump-log does: .log, .index, .timeindex, .txnindex, .snapshot. Of a directory all of
them. Or, with --topic, the batches that a running broker has. The exit status is 1 if something is broken.

  partlogd dump --print-data-log --files data/data/orders-0/00000000000000000000.log
  partlogd dump data/data/orders-0
  partlogd dump --topic orders --partition 0 --print-data-log

Flags:
  --files FILE,...                  files; words on the command line are files too
  --print-data-log                  records with keys and values
  --deep-iteration                  records without them
  --offsets-decoder                 of __consumer_offsets: what the records say, as JSON
  --transaction-log-decoder         of __transaction_state: the same
  --skip-record-metadata            with --print-data-log: only keys and values
  --index-sanity-check, --verify-index-only
                                    compare indexes with the log beside them and print only what does not fit
  --max-bytes N                     of each log, only so many
  --topic TOPIC, --partition N      of a running broker; default all partitions
` + connectionHelp

// dumper prints batches and files.
type dumper struct {
	out        *bufio.Writer
	data, deep bool
	bare       bool   // no metadata of records
	decode     string // whose records are decoded, if any are
	onlyIndex  bool
	most       int64
	it         batch.Iterator
	broken     int // things found that should not be so
}

func dump(ctx context.Context, args []string, s Streams) error {
	f := newFlags("dump", dumpHelp)
	var c connection
	var files list
	d := &dumper{out: bufio.NewWriterSize(s.Out, 64<<10)}
	c.addTo(f)
	f.Var(&files, "files", "")
	f.BoolVar(&d.data, "print-data-log", false, "")
	f.BoolVar(&d.deep, "deep-iteration", false, "")
	f.BoolVar(&d.bare, "skip-record-metadata", false, "")
	offsets := f.Bool("offsets-decoder", false, "")
	transactions := f.Bool("transaction-log-decoder", false, "")
	f.BoolVar(&d.onlyIndex, "index-sanity-check", false, "")
	f.BoolVar(&d.onlyIndex, "verify-index-only", false, "")
	f.Int64Var(&d.most, "max-bytes", 1<<62, "")
	f.Int("max-message-size", 0, "")
	topic := f.String("topic", "", "")
	only := f.Int("partition", -1, "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	files = append(files, f.words...)
	switch {
	case *offsets && *transactions:
		return Usagef("--offsets-decoder and --transaction-log-decoder are of different topics")
	case *offsets:
		d.decode, d.data = decodeOffsets, true
	case *transactions:
		d.decode, d.data = decodeTransactions, true
	}
	var err error
	switch {
	case *topic != "" && len(files) > 0:
		return Usagef("--topic is for a running broker, so files cannot be with it")
	case *topic != "":
		err = d.broker(ctx, &c, *topic, int32(*only))
	case len(files) == 0:
		return Usagef("want --files or --topic: what is to be shown?")
	default:
		for _, file := range files {
			if err = d.path(ctx, file); err != nil {
				break
			}
		}
	}
	err = errors.Join(unless(ctx, err), d.out.Flush())
	if err == nil && d.broken > 0 {
		err = fmt.Errorf("%d things are not as they should be", d.broken)
	}
	return err
}

// path dumps a file, or the files of a directory.
func (d *dumper) path(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return d.file(ctx, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	n := 0
	for _, e := range entries {
		if slices.Contains([]string{".log", ".index", ".timeindex", ".txnindex", ".snapshot"}, filepath.Ext(e.Name())) {
			n++
			if err := d.file(ctx, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("%s is not the directory of a partition: there are no segments in it", path)
	}
	return nil
}

func (d *dumper) file(ctx context.Context, path string) error {
	name := filepath.Base(path)
	base, err := strconv.ParseInt(strings.TrimSuffix(name, filepath.Ext(name)), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: the name does not begin with an offset", path)
	}
	fmt.Fprintf(d.out, "Dumping %s\n", path)
	switch filepath.Ext(name) {
	case ".log":
		return d.log(ctx, path, base)
	case ".index":
		return d.offsetIndex(path, base)
	case ".timeindex":
		return d.timeIndex(path, base)
	case ".txnindex":
		return d.txnIndex(path)
	case ".snapshot":
		return d.snapshot(path)
	}
	return fmt.Errorf("%s: there is nothing to dump of such a file; .log, .index, .timeindex, .txnindex and .snapshot can be shown", path)
}

// log walks the batches of a segment until they end, or are no batches any more.
func (d *dumper) log(ctx context.Context, path string, base int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "Log starting offset: %d\n", base)
	in := bufio.NewReaderSize(f, 1<<20)
	var buf []byte
	for position := int64(0); position < min(info.Size(), d.most); {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := nextBatch(in, &buf, info.Size()-position)
		if err != nil {
			if zeros, zerr := onlyZeros(f, position); zerr != nil || zeros {
				return zerr // allocated beforehand, and not written yet
			}
			d.broken++
			fmt.Fprintf(d.out, "Found %d invalid bytes at the end of %s\n", info.Size()-position, filepath.Base(path))
			return nil
		}
		if err := d.batch(b, position); err != nil {
			return err
		}
		position += int64(b.Length())
	}
	return nil
}

// nextBatch reads one whole batch into buf.
func nextBatch(in *bufio.Reader, buf *[]byte, left int64) (batch.Batch, error) {
	head, err := in.Peek(batch.HeaderSize)
	if err != nil {
		return nil, err
	}
	n, err := batch.PeekLength(head)
	if err != nil {
		return nil, err
	}
	if int64(n) > left {
		return nil, io.ErrUnexpectedEOF
	}
	*buf = slices.Grow((*buf)[:0], n)[:n]
	if _, err := io.ReadFull(in, *buf); err != nil {
		return nil, err
	}
	return batch.Peek(*buf)
}

// onlyZeros tells whether nothing but zeros follows.
func onlyZeros(f *os.File, from int64) (bool, error) {
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return false, err
	}
	in := bufio.NewReaderSize(f, 64<<10)
	for {
		b, err := in.ReadByte()
		if err == io.EOF {
			return true, nil
		}
		if err != nil || b != 0 {
			return false, err
		}
	}
}

// entries calls f for each entry of a file of entries of one size, up to the zeros at its end.
func entries(path string, size int, f func(e []byte)) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := 0; i+size <= len(data); i += size {
		e := data[i : i+size]
		if i > 0 && strings.Trim(string(e), "\x00") == "" {
			return nil
		}
		f(e)
	}
	return nil
}

func (d *dumper) offsetIndex(path string, base int64) error {
	log, err := os.Open(strings.TrimSuffix(path, ".index") + ".log")
	if err == nil {
		defer log.Close()
	} else if d.onlyIndex {
		return err
	}
	return entries(path, 8, func(e []byte) {
		offset, position := base+int64(binary.BigEndian.Uint32(e)), int64(binary.BigEndian.Uint32(e[4:]))
		if d.onlyIndex {
			d.checkEntry(path, log, offset, position)
			return
		}
		fmt.Fprintf(d.out, "offset: %d position: %d\n", offset, position)
	})
}

// checkEntry says it when the log does not have at position the batch that ends with offset.
func (d *dumper) checkEntry(path string, log *os.File, offset, position int64) {
	head := make([]byte, batch.HeaderSize)
	if _, err := log.ReadAt(head, position); err != nil {
		d.broken++
		fmt.Fprintf(d.out, "Mismatches in :%s\n  Index offset: %d, position %d: %v\n", path, offset, position, err)
		return
	}
	last := int64(binary.BigEndian.Uint64(head)) + int64(int32(binary.BigEndian.Uint32(head[23:])))
	if last != offset {
		d.broken++
		fmt.Fprintf(d.out, "Mismatches in :%s\n  Index offset: %d, log offset: %d\n", path, offset, last)
	}
}

func (d *dumper) timeIndex(path string, base int64) error {
	return entries(path, 12, func(e []byte) {
		if !d.onlyIndex {
			fmt.Fprintf(d.out, "timestamp: %d offset: %d\n", int64(binary.BigEndian.Uint64(e)), base+int64(binary.BigEndian.Uint32(e[8:])))
		}
	})
}

func (d *dumper) txnIndex(path string) error {
	return entries(path, segment.TxnEntrySize, func(e []byte) {
		n := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[2+8*i:])) }
		fmt.Fprintf(d.out, "version: %d producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d\n", binary.BigEndian.Uint16(e), n(0), n(1), n(2), n(3))
	})
}

func (d *dumper) snapshot(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	all, err := segment.ParseSnapshot(data)
	if err != nil {
		d.broken++
		fmt.Fprintf(d.out, "%v\n", err)
		return nil
	}
	for _, e := range all {
		open := "OptionalLong.empty"
		if e.TxnFirstOffset >= 0 {
			open = fmt.Sprintf("OptionalLong[%d]", e.TxnFirstOffset)
		}
		fmt.Fprintf(d.out, "producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d ",
			e.ProducerID, e.Epoch, e.CoordinatorEpoch, open, e.Timestamp)
		if e.LastSequence >= 0 || e.LastOffset >= 0 {
			fmt.Fprintf(d.out, "firstSequence: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d",
				batch.AddSequence(e.LastSequence, -e.OffsetDelta), e.LastSequence, e.LastOffset, e.OffsetDelta, e.Timestamp)
		}
		d.out.WriteByte('\n')
	}
	return nil
}
