package batch

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/compress"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "\n", ""))
	require.NoError(t, err)
	return b
}

// What Kafka's own serializers made of these records.
const (
	goldenPlain = "0000000000000064000000560000000502e117d1280000000000020000018bcfe568000000018bcfe56805ffffffffffffffffffff\n" +
		"ffffffff000000031a000000026b047631020268027816000a02010a68656c6c6f0014000104026b0102026e01"
	goldenTransactional = "000000000000000000000057ffffffff02e56daaa20010000000010000018bcfe568000000018bcfe5680100000000000010920007\n" +
		"0000000000000002240000000a6b65792d300e76616c75652d3000240002020a6b65792d310e76616c75652d3100"
	goldenCommit = "000000000000003700000042000000030216edd8390030000000000000018bcfe568000000018bcfe5680000000000000010920008ffffffff000000012000000008000000010c00000000000c00"
	goldenAbort  = "0000000000000037000000420000000302e2d30e710030000000000000018bcfe568000000018bcfe5680000000000000010920008ffffffff000000012000000008000000000c00000000000c00"
	goldenEmpty  = "00000000000000c8000000310000000502edc44b4d000000000004ffffffffffffffff0000018bcfe56800000000000000109200070000000a00000000"
)

var goldenCompressed = map[compress.Codec]string{
	compress.Gzip: "00000000000000000000006cffffffff02521cf2020001000000020000018bcfe568000000018bcfe56802ffffffffffffffffffffffffffff\n" +
		"000000031f8b08000000000000ff53616060e0ca4eadd435e02b4bcc294dd5356050616062020b1942850c81422c2c602123a8901103008a6f267a39000000",
	compress.Snappy: "00000000000000000000007affffffff02fb1875700002000000020000018bcfe568000000018bcfe56802ffffffffffffffffffffffffffff\n" +
		"0000000382534e41505059000000000100000001000000353958240000000a6b65792d300e76616c75652d300024000202051300310d13503100240004040a6b65792d320e76616c75652d3200",
	compress.LZ4: "000000000000000000000073ffffffff02b8fd96050003000000020000018bcfe568000000018bcfe56802ffffffffffffffffffffffffffff\n" +
		"0000000304224d1860408233000000f108240000000a6b65792d300e76616c75652d300024000202130013311300613100240004041300a0320e76616c75652d320000000000",
	compress.Zstd: "00000000000000000000006bffffffff02967fc5f60004000000020000018bcfe568000000018bcfe56802ffffffffffffffffffffffffffff\n" +
		"0000000328b52ffd00587401001402240000000a6b65792d300e76616c75652d30002400020231310024000404323200040020056805dc6dc26c02010000",
}

const goldenTime = 1700000000000

// records walks b and returns copies of its records.
func records(t testing.TB, b Batch) []Record {
	var (
		it  Iterator
		all []Record
	)
	for b.Iterate(&it, DefaultMaxBytes); it.Next(); {
		all = append(all, clone(it.Record()))
	}
	require.NoError(t, it.Err())
	return all
}

func clone(r *Record) Record {
	c := *r
	c.Key, c.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.Headers = nil
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	return c
}

func TestGoldenPlainBatchIsWrittenAndRead(t *testing.T) {
	want := []Record{
		{Offset: 100, Timestamp: goldenTime, Key: []byte("k"), Value: []byte("v1"), Headers: []Header{{Key: "h", Value: []byte("x")}}},
		{Offset: 101, Timestamp: goldenTime + 5, Value: []byte("hello")},
		{Offset: 102, Timestamp: goldenTime - 1, Key: []byte("k"), Headers: []Header{{Key: "n"}}},
	}
	var w Builder
	w.Reset(nil, Options{})
	for _, r := range want {
		w.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	b, err := w.Finish()
	require.NoError(t, err)
	require.NoError(t, b.CheckShape())
	b.SetBaseOffset(100)
	b.SetLeaderEpoch(5)
	require.Equal(t, unhex(t, goldenPlain), []byte(b))
	require.NoError(t, b.Validate(ValidateOptions{}))
	require.Equal(t, want, records(t, b))
	require.Equal(t, int64(102), b.LastOffset())
	require.Equal(t, int64(103), b.NextOffset())
	require.Equal(t, int32(5), b.LeaderEpoch())
	require.Equal(t, int32(None), b.LastSequence())
	require.Equal(t, int64(goldenTime+5), b.MaxTimestamp())
}

func TestGoldenTransactionalBatchIsWritten(t *testing.T) {
	for _, late := range []bool{false, true} {
		var w Builder
		o := Options{Transactional: true, ProducerID: 4242, Epoch: 7}
		if late {
			o.ProducerID, o.Epoch = 0, 0
		}
		w.Reset(nil, o)
		for i := range int64(2) {
			w.Append(goldenTime+i, fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value-%d", i), nil)
		}
		if late {
			w.SetProducer(4242, 7, 0)
		}
		b, err := w.Finish()
		require.NoError(t, err)
		require.Equal(t, unhex(t, goldenTransactional), []byte(b))
		require.NoError(t, b.CheckShape())
		require.True(t, b.IsTransactional())
		require.Equal(t, int64(4242), b.ProducerID())
		require.Equal(t, int16(7), b.ProducerEpoch())
		require.Equal(t, int32(1), b.LastSequence())
	}
}

func TestGoldenCompressedBatchesAreReadAndOursComeBack(t *testing.T) {
	for codec, text := range goldenCompressed {
		b, err := Peek(unhex(t, text))
		require.NoError(t, err)
		require.Equal(t, codec, b.Codec())
		require.NoError(t, b.Validate(ValidateOptions{Client: true}), codec)
		got := records(t, b)
		require.Len(t, got, 3)

		var w Builder
		w.Reset(nil, Options{Codec: codec})
		for i, r := range got {
			require.Equal(t, Record{Offset: int64(i), Timestamp: goldenTime + int64(i),
				Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i)}, r)
			w.Append(r.Timestamp, r.Key, r.Value, nil)
		}
		ours, err := w.Finish()
		require.NoError(t, err)
		require.NoError(t, ours.Validate(ValidateOptions{Client: true}))
		require.Equal(t, got, records(t, ours))
		// All but length, CRC and the compressed bytes is the same.
		require.Equal(t, b[posAttributes:HeaderSize], ours[posAttributes:HeaderSize])
	}
}

func TestGoldenMarkersAreWrittenAndRead(t *testing.T) {
	for typ, text := range map[ControlType]string{ControlCommit: goldenCommit, ControlAbort: goldenAbort} {
		b := Batch(BuildControl([]byte("before"), typ, 4242, 8, 12, goldenTime)[6:])
		b.SetBaseOffset(55)
		b.SetLeaderEpoch(3)
		require.Equal(t, unhex(t, text), []byte(b))
		require.NoError(t, b.Validate(ValidateOptions{}))
		require.True(t, b.IsControl())
		require.ErrorIs(t, b.CheckShape(), ErrInvalidRecord)

		all := records(t, b)
		require.Len(t, all, 1)
		c, err := ParseControl(&all[0])
		require.NoError(t, err)
		require.Equal(t, Control{Type: typ, CoordinatorEpoch: 12}, c)
		require.True(t, c.IsMarker())
	}
}

func TestGoldenEmptyBatchIsWrittenAndRead(t *testing.T) {
	var w Builder
	w.Reset(nil, Options{Idempotent: true, ProducerID: 4242, Epoch: 7, BaseSequence: 10, Codec: compress.LZ4})
	for i := range int64(5) {
		w.Append(goldenTime-4+i, nil, nil, nil)
	}
	b, err := w.Finish()
	require.NoError(t, err)
	b.SetBaseOffset(200)
	b.SetLeaderEpoch(5)
	e, err := Peek(BuildEmpty(nil, b))
	require.NoError(t, err)
	require.Equal(t, unhex(t, goldenEmpty), []byte(e))
	require.NoError(t, e.Validate(ValidateOptions{}))
	require.Empty(t, records(t, e))
	require.Equal(t, int64(205), e.NextOffset())
	require.Equal(t, int32(14), e.LastSequence())
}

// dumper writes what kafka-dump-log prints with --print-data-log.
type dumper struct {
	strings.Builder
	it   Iterator
	bare bool // one of the files was dumped without keys and payloads
}

func (d *dumper) batch(t *testing.T, b Batch, position int) {
	kind := "CreateTime"
	if b.IsLogAppendTime() {
		kind = "LogAppendTime"
	}
	horizon := "OptionalLong.empty"
	if b.HasDeleteHorizon() {
		horizon = fmt.Sprintf("OptionalLong[%d]", b.BaseTimestamp())
	}
	fmt.Fprintf(d, "baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d"+
		" partitionLeaderEpoch: %d isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d magic: %d"+
		" compresscodec: %s crc: %d isvalid: %t\n",
		b.BaseOffset(), b.LastOffset(), b.Count(), b.BaseSequence(), b.LastSequence(), b.ProducerID(), b.ProducerEpoch(),
		b.LeaderEpoch(), b.IsTransactional(), b.IsControl(), horizon, position, kind, b.MaxTimestamp(), b.Length(), b.Magic(),
		b.Codec(), b.CRC(), b.CheckCRC() == nil)
	for b.Iterate(&d.it, DefaultMaxBytes); d.it.Next(); {
		r := d.it.Record()
		sequence := int32(None)
		if b.BaseSequence() >= 0 {
			sequence = AddSequence(b.BaseSequence(), int32(r.Offset-b.BaseOffset()))
		}
		var keys []string
		for _, h := range r.Headers {
			keys = append(keys, h.Key)
		}
		fmt.Fprintf(d, "| offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]",
			r.Offset, kind, r.Timestamp, sizeOf(r.Key), sizeOf(r.Value), sequence, strings.Join(keys, ","))
		if b.IsControl() {
			c, err := ParseControl(r)
			require.NoError(t, err)
			fmt.Fprintf(d, " endTxnMarker: %s coordinatorEpoch: %d\n", c.Type, c.CoordinatorEpoch)
			continue
		}
		if d.bare {
			d.WriteString("\n")
			continue
		}
		if r.Key != nil {
			d.WriteString(" key: " + javaText(r.Key))
		}
		if r.Value != nil {
			d.WriteString(" payload: " + javaText(r.Value))
		}
		d.WriteString("\n")
	}
	require.NoError(t, d.it.Err())
}

func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// javaText shows bytes that are not UTF-8 as Java does.
func javaText(b []byte) string { return string([]rune(string(b))) }

var dumpHead = regexp.MustCompile(`\ADumping \S+\nLog starting offset: (\d+)\n`)

// Every segment that a real broker wrote decodes to exactly what Kafka's dump
// tool printed of it, to the byte.
func TestGoldenSegmentsDecodeToWhatKafkaDumped(t *testing.T) {
	files, err := filepath.Glob("testdata/kafka-4.1.2/*.log")
	require.NoError(t, err)
	require.Len(t, files, 17)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			dump, err := os.ReadFile(file + ".txt")
			require.NoError(t, err)
			head := dumpHead.FindSubmatch(dump)
			require.NotNil(t, head)
			parts := strings.Split(file, ".")
			base, err := strconv.ParseInt(parts[len(parts)-2], 10, 64)
			require.NoError(t, err)
			require.Equal(t, string(head[1]), strconv.FormatInt(base, 10))

			d := dumper{bare: !bytes.Contains(dump, []byte(" payload: "))}
			for position := 0; position < len(data); {
				b, err := Peek(data[position:])
				require.NoError(t, err)
				require.NoError(t, b.Validate(ValidateOptions{}))
				d.batch(t, b, position)
				position += b.Length()
			}
			want := strings.Split(string(dump[len(head[0]):]), "\n")
			got := strings.Split(d.String(), "\n")
			for i := range min(len(got), len(want)) {
				require.Equal(t, want[i], got[i], "line %d", i+3)
			}
			require.Equal(t, len(want), len(got))
		})
	}
}
