// Ingest reads CSV with a header, or JSON lines, and produces one record a row: the key is one column, the value is
// the row as a JSON object.
//
//	go run ./examples/ingest -dir DIR -topic T -key COLUMN [-partitions N] [-compression C] [FILE]
//
// Without FILE it reads standard input. A bad row is named by its line, skipped and counted, and makes the exit status 1;
// every other row is stored.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

type options struct {
	dir, topic, key, compression, file string
	partitions                         int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "directory of the store (required)")
	flag.StringVar(&o.topic, "topic", "", "topic to produce to; created if it is not there (required)")
	flag.StringVar(&o.key, "key", "", "column whose value is the record's key (required)")
	flag.IntVar(&o.partitions, "partitions", 8, "partitions of a topic that is created")
	flag.StringVar(&o.compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	flag.Parse()
	o.file = flag.Arg(0)
	if o.dir == "" || o.topic == "" || o.key == "" || flag.NArg() > 1 {
		flag.Usage()
		os.Exit(2)
	}
	in := &input{Reader: os.Stdin}
	if o.file != "" && o.file != "-" {
		f, err := os.Open(o.file)
		exitOn(err)
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			in.size = info.Size()
		}
		in.Reader = f
	}
	bad, err := run(context.Background(), o, in, os.Stdout, os.Stderr)
	exitOn(err)
	if bad > 0 {
		os.Exit(1)
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

// run returns how many rows were bad; err is what ended it before the end of the input.
func run(ctx context.Context, o options, in *input, stdout, stderr io.Writer) (bad int, err error) {
	codec, err := partition.ParseCodec(o.compression)
	if err != nil {
		return 0, err
	}
	store, err := partition.Open(o.dir, partition.Config{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = store.CreateTopic(ctx, o.topic, partition.TopicConfig{Partitions: int32(o.partitions)})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return 0, err
	}
	p, err := producer.New(store, producer.Config{Compression: codec})
	if err != nil {
		return 0, err
	}

	show := newProgress(in, stderr)
	var failure atomic.Pointer[error]
	result := func(r producer.Result) {
		if r.Err != nil {
			failure.CompareAndSwap(nil, &r.Err)
			return
		}
		show.records.Add(1)
		show.bytes.Add(int64(max(r.KeySize, 0) + r.ValueSize))
	}
	for r, err := range rows(in, o.key) {
		if badRow, ok := errors.AsType[*rowError](err); ok {
			bad++
			fmt.Fprintln(stderr, badRow)
			continue
		}
		if err != nil {
			return bad, errors.Join(err, p.Close())
		}
		if failure.Load() != nil {
			break
		}
		p.SendAsync(ctx, producer.Record{Topic: o.topic, Key: r.key, Value: r.value}, result)
		show.line()
	}
	err = p.Close() // waits for every result
	if f := failure.Load(); f != nil {
		err = errors.Join(*f, err)
	}
	show.totals(stdout, bad)
	return bad, err
}

// row is one record to be. Its bytes are used again for the next.
type row struct{ key, value []byte }

// rowError is a row that cannot be a record; the rows behind it can.
type rowError struct {
	line int
	err  error
}

func (e *rowError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// rows walks the rows of CSV with a header, or of JSON lines if the first character is a brace. A *rowError does not end
// the walk, any other error does.
func rows(in io.Reader, key string) func(yield func(row, error) bool) {
	return func(yield func(row, error) bool) {
		b := bufio.NewReaderSize(in, 1<<20)
		first, err := b.Peek(1)
		switch {
		case err == io.EOF:
			yield(row{}, errors.New("the input is empty"))
		case err != nil:
			yield(row{}, err)
		case first[0] == '{':
			jsonRows(b, key, yield)
		default:
			csvRows(b, key, yield)
		}
	}
}

func csvRows(b *bufio.Reader, key string, yield func(row, error) bool) {
	r := csv.NewReader(b)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		yield(row{}, fmt.Errorf("header: %w", err))
		return
	}
	column, names := -1, make([][]byte, len(header))
	for i, name := range header {
		if name == key {
			column = i
		}
		names[i] = quote(nil, name)
	}
	if column < 0 {
		yield(row{}, fmt.Errorf("the header has no column %q", key))
		return
	}
	var value []byte
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			err = &rowError{bad.StartLine, bad.Err}
		}
		if err != nil {
			if !yield(row{}, err) {
				return
			}
			continue
		}
		value = append(value[:0], '{')
		for i, field := range fields {
			if i > 0 {
				value = append(value, ',')
			}
			value = append(append(value, names[i]...), ':')
			value = quote(value, field)
		}
		if !yield(row{[]byte(fields[column]), append(value, '}')}, nil) {
			return
		}
	}
}

// quote appends s as a JSON string.
func quote(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a string that is no JSON: " + err.Error())
	}
	return append(dst, text...)
}

func jsonRows(b *bufio.Reader, key string, yield func(row, error) bool) {
	for line := 1; ; line++ {
		text, end := b.ReadBytes('\n')
		if text = bytes.TrimSpace(text); len(text) > 0 {
			var object map[string]json.RawMessage
			err := json.Unmarshal(text, &object)
			field, ok := object[key]
			if err == nil && !ok {
				err = fmt.Errorf("no field %q", key)
			}
			if err != nil {
				err = &rowError{line, err}
			}
			if !yield(row{keyOf(field), text}, err) {
				return
			}
		}
		if end != nil {
			if end != io.EOF {
				yield(row{}, end)
			}
			return
		}
	}
}

// keyOf returns a string's text, nil for null, and the JSON of anything else.
func keyOf(field json.RawMessage) []byte {
	var text string
	switch {
	case string(field) == "null":
		return nil
	case json.Unmarshal(field, &text) == nil:
		return []byte(text)
	}
	return field
}

// input counts what is read of it.
type input struct {
	io.Reader
	size int64 // 0 if it is not known
	read int64
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.Reader.Read(p)
	in.read += int64(n)
	return n, err
}

// progress is a line on a terminal, written anew each half second.
type progress struct {
	in             *input
	out            io.Writer // nil if standard error is not a terminal
	started, last  time.Time
	rows           int
	records, bytes atomic.Int64 // acknowledged
}

func newProgress(in *input, stderr io.Writer) *progress {
	p := &progress{in: in, started: time.Now(), last: time.Now()}
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.out = stderr
		}
	}
	return p
}

func (p *progress) line() {
	if p.rows++; p.out == nil || p.rows%1024 != 0 || time.Since(p.last) < time.Second/2 {
		return
	}
	p.last = time.Now()
	fmt.Fprintf(p.out, "\r\x1b[K%s", p)
	if p.in.size > 0 {
		left := time.Duration(float64(time.Since(p.started)) * (float64(p.in.size)/float64(p.in.read) - 1))
		fmt.Fprintf(p.out, ", ETA %v", left.Round(time.Second))
	}
}

func (p *progress) String() string {
	n, mb, s := p.records.Load(), float64(p.bytes.Load())/1e6, time.Since(p.started).Seconds()
	return fmt.Sprintf("%d records, %.1f MB, %.0f records/s, %.1f MB/s", n, mb, float64(n)/s, mb/s)
}

func (p *progress) totals(stdout io.Writer, bad int) {
	if p.out != nil {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(stdout, "%s, %d bad rows skipped, %v\n", p, bad, time.Since(p.started).Round(time.Millisecond))
}
