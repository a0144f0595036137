package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
)

// flexible is what kmsg says of an API.
func flexible(key, version int16) bool {
	r := kmsg.RequestForKey(key)
	if r == nil {
		return false
	}
	r.SetVersion(version)
	return r.IsFlexible()
}

func TestHeadersAreReadAsTheyAreWritten(t *testing.T) {
	for _, id := range [][]byte{nil, {}, []byte("client"), make([]byte, 1<<15-1)} {
		for _, version := range []int16{1, 12} {
			h := wire.Header{Key: 3, Version: version, Correlation: -7, ClientID: id}
			frame := append(wire.AppendHeader(nil, h, flexible(3, version)), "body"...)
			got, body, err := wire.ParseHeader(frame, flexible)
			require.NoError(t, err)
			require.Equal(t, h, got)
			require.Equal(t, "body", string(body))
		}
	}
}

// The requests of kmsg, which has its own idea of them, in every version.
func TestHeadersOfAllRequestsAreUnderstood(t *testing.T) {
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("someone"))
	for key := range int16(kmsg.MaxKey) + 1 {
		r := kmsg.RequestForKey(key)
		if r == nil {
			continue
		}
		for version := range r.MaxVersion() + 1 {
			r.SetVersion(version)
			if key == 7 && version == 0 {
				continue // kmsg writes no body there
			}
			frame := f.AppendRequest(nil, r, 42)[4:]
			h, body, err := wire.ParseHeader(frame, flexible)
			require.NoError(t, err)
			require.Equal(t, []int16{key, version}, []int16{h.Key, h.Version})
			require.EqualValues(t, 42, h.Correlation)
			require.Equal(t, "someone", string(h.ClientID))
			require.Equal(t, r.AppendTo(nil), append([]byte(nil), body...), "%s v%d", kmsg.NameForKey(key), version)
		}
	}
}

func TestTagsOfAHeaderAreSkipped(t *testing.T) {
	frame := append(wire.AppendHeader(nil, wire.Header{Key: 3, Version: 12}, false), 2, 0, 3, 'a', 'b', 'c', 0x80, 1, 0)
	_, body, err := wire.ParseHeader(append(frame, "body"...), flexible)
	require.NoError(t, err)
	require.Equal(t, "body", string(body))
}

func TestHeadersThatAreCutOffAreRefused(t *testing.T) {
	whole := append(wire.AppendHeader(nil, wire.Header{Key: 3, Version: 12, ClientID: []byte("client")}, false), 1, 0, 3, 'a', 'b', 'c')
	for n := range whole {
		_, _, err := wire.ParseHeader(whole[:n], flexible)
		require.ErrorIs(t, err, wire.ErrHeader, "%d bytes", n)
	}
	for _, bad := range []string{"\xff\xfe\x00", "\x00\x00\xff\xff\xff\xff\x0f", "\x00\x00\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x00\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"} {
		_, _, err := wire.ParseHeader([]byte("\x00\x03\x00\x0c\x00\x00\x00\x01"+bad), flexible)
		require.ErrorIs(t, err, wire.ErrHeader, "%q", bad)
	}
}

func TestResponseHeadersHaveTagsIfFlexible(t *testing.T) {
	require.Equal(t, []byte{0, 0, 0, 9}, wire.AppendResponseHeader(nil, 9, false))
	require.Equal(t, []byte{0, 0, 0, 9, 0}, wire.AppendResponseHeader(nil, 9, true))
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x0c\x00\x00\x00\x01\x00\x02ab\x01\x00\x03abcbody"))
	f.Add([]byte("\x00\x07\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := wire.ParseHeader(frame, flexible)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrHeader)
			return
		}
		again := append(wire.AppendHeader(nil, h, flexible(h.Key, h.Version)), body...)
		if h.Key == 7 && h.Version == 0 {
			return
		}
		same, rest, err := wire.ParseHeader(again, flexible)
		require.NoError(t, err)
		require.Equal(t, h, same)
		require.Equal(t, body, rest)
	})
}
