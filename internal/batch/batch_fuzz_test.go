package batch

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/compress"
)

func seed(f *testing.F) {
	for _, text := range []string{goldenPlain, goldenTransactional, goldenCommit, goldenAbort, goldenEmpty} {
		f.Add(unhex(f, text))
	}
	for _, text := range goldenCompressed {
		f.Add(unhex(f, text))
	}
}

// Whatever Peek takes for a batch has the header that franz-go reads, and
// can be checked and walked without a panic.
func FuzzPeek(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Peek(data)
		if err != nil {
			require.True(t, err == ErrShort || bytes.Contains([]byte(err.Error()), []byte("corrupt")))
			return
		}
		requireSameHeader(t, b)
		before := bytes.Clone(b)
		shape := b.CheckShape()
		for _, o := range []ValidateOptions{
			{SkipCRC: true, MaxBytes: 1 << 20},
			{SkipCRC: true, MaxBytes: 1 << 20, Client: true, KeyRequired: true, OldestTimestamp: 1, NewestTimestamp: 2},
		} {
			err := b.Validate(o)
			require.Equal(t, before, []byte(b), "Validate changes nothing unless told to repair")
			if err == nil && o.Client {
				require.NoError(t, shape)
			}
		}
		if b.Validate(ValidateOptions{SkipCRC: true, Repair: true, Client: true, MaxBytes: 1 << 20}) == nil {
			b.UpdateCRC()
			require.NoError(t, b.Validate(ValidateOptions{Client: true, MaxBytes: 1 << 20}))
		}
	})
}

// The records are anything, behind a header that fits them. Each record that
// the iterator yields is the one that franz-go reads there, and what franz-go
// reads and writes back the same, at a permitted offset, is not refused.
func FuzzIterate(f *testing.F) {
	for _, text := range []string{goldenPlain, goldenTransactional, goldenCommit} {
		b := Batch(unhex(f, text))
		f.Add([]byte(b.Records()), uint8(b.Count()), uint8(b.LastOffsetDelta()))
	}
	f.Fuzz(func(t *testing.T, data []byte, count, last uint8) {
		b := body(int32(count), int32(last), data...)
		var it Iterator
		b.Iterate(&it, 0)
		lastDelta := int32(-1)
		for range count {
			at := it.pos
			var k kmsg.Record
			err := k.ReadFrom(data[at:])
			canonical := k.AppendTo(nil)
			ok := err == nil && bytes.HasPrefix(data[at:], canonical) &&
				int(k.Length) == len(canonical)-varintSize(int64(k.Length)) &&
				k.OffsetDelta > lastDelta && k.OffsetDelta <= int32(last)
			if !it.Next() {
				require.Error(t, it.Err())
				require.False(t, ok, "franz-go reads it: %+v", k)
				return
			}
			require.NoError(t, err)
			r := it.Record()
			require.Equal(t, int64(k.OffsetDelta), r.Offset)
			require.Equal(t, k.TimestampDelta64, r.Timestamp)
			require.Equal(t, k.Key == nil, r.Key == nil)
			require.True(t, bytes.Equal(k.Key, r.Key))
			require.Equal(t, k.Value == nil, r.Value == nil)
			require.True(t, bytes.Equal(k.Value, r.Value))
			require.Equal(t, len(k.Headers), len(r.Headers))
			for i, h := range k.Headers {
				require.Equal(t, h.Key, r.Headers[i].Key)
				require.Equal(t, h.Value == nil, r.Headers[i].Value == nil)
				require.True(t, bytes.Equal(h.Value, r.Headers[i].Value))
			}
			lastDelta = k.OffsetDelta
		}
		require.False(t, it.Next())
		require.Equal(t, it.pos == len(data), it.Err() == nil)
	})
}

// takes reads records out of fuzz input: a byte says which parts are null,
// the next ones how long they are.
type takes struct{ data []byte }

func (f *takes) byte() byte {
	if len(f.data) == 0 {
		return 0
	}
	b := f.data[0]
	f.data = f.data[1:]
	return b
}

func (f *takes) bytes(null bool) []byte {
	if null {
		return nil
	}
	n := min(int(f.byte()), len(f.data))
	b := f.data[:n:n]
	f.data = f.data[n:]
	return b
}

func (f *takes) record() Record {
	flags := f.byte()
	r := Record{Timestamp: goldenTime, Key: f.bytes(flags&1 != 0), Value: f.bytes(flags&2 != 0)}
	for range flags >> 2 & 3 {
		r.Headers = append(r.Headers, Header{Key: string(f.bytes(false)), Value: f.bytes(flags&16 != 0)})
	}
	switch flags >> 5 {
	case 1:
		r.Timestamp += int64(int8(f.byte()))
	case 2:
		r.Timestamp -= int64(f.byte()) << (f.byte() % 56)
	case 3:
		r.Timestamp = None
	case 4:
		r.Timestamp = math.MinInt64
	}
	return r
}

// Any records are written as franz-go writes them and read back from every
// codec.
func FuzzBuilderRoundTrip(f *testing.F) {
	f.Add([]byte("\x00\x03key\x05value\x01\x05value\x04\x01k\x01v\x06header\x01x"))
	f.Add([]byte{0x5f, 200, 50, 0x60, 0x80, 0x23, 7, 1, 2, 3})
	f.Add(bytes.Repeat([]byte{0}, 300))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := takes{data}
		var all []Record
		for first := true; first || len(in.data) > 0; first = false {
			all = append(all, in.record())
		}
		var w Builder
		requireWritten(t, &w, all, Options{Transactional: len(data)%2 == 0, Epoch: 3})
	})
}

// A compressed blob that is anything must not get past the limit.
func FuzzIterateCompressed(f *testing.F) {
	for codec, text := range goldenCompressed {
		f.Add(uint8(codec), []byte(Batch(unhex(f, text)).Records()))
	}
	f.Fuzz(func(t *testing.T, codec uint8, data []byte) {
		b := body(3, 2, data...)
		b[posAttributes+1] = codec & attrCodec
		var it Iterator
		for b.Iterate(&it, 1<<16); it.Next(); {
			require.LessOrEqual(t, len(it.Record().Value), 1<<16)
		}
		if compress.Codec(codec&attrCodec) > compress.Zstd {
			require.Error(t, it.Err())
		}
	})
}
