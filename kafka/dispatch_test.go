package kafka

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
)

// A key that is not advertised, or a version outside of the range, closes the connection: there is no answer that the client
// could read. What is advertised and refused (Produce 0 to 2) is no exception.
func TestRequestsOutsideTheAdvertisedRangesCloseTheConnection(t *testing.T) {
	r := newRig(t, 1, Config{})
	s := r.session(1)
	for key := int16(-2); key < 1000; key++ {
		for _, version := range []int16{-1, 0, 1, 2, 3, 5, 13, 14, 19, 99} {
			a := apis[key]
			if key == keyApiVersions || a != nil && version >= a.floor && version <= a.Max {
				continue
			}
			frame := wire.AppendHeader(nil, wire.Header{Key: key, Version: version, ClientID: []byte("old")}, false)
			_, err := s.Frame(t.Context(), append(frame, 0, 0, 0, 0, 0, 0, 0, 0, 0))
			require.ErrorIs(t, err, ErrUnsupportedVersion, "key %d version %d", key, version)
			e, ok := errors.AsType[*RequestError](err)
			require.True(t, ok)
			require.Equal(t, []any{key, version}, []any{e.Key, e.Version})
			if key != 7 || version != 0 { // whose header has no client id
				require.Equal(t, "old", e.ClientID)
			}
		}
	}
}

// The advertised ranges are Apache Kafka 4.1.2's, but for what the listener does not have.
func TestAdvertisedRangesAreKafkas(t *testing.T) {
	for key, want := range map[int16]Range{
		keyProduce: {0, 13}, keyFetch: {4, 18}, keyListOffsets: {1, 10}, keyMetadata: {0, 13}, keyApiVersions: {0, 4},
		keyDeleteRecords: {0, 2}, keyOffsetForLeaderEpoch: {2, 4}, keyDescribeCluster: {0, 2},
	} {
		require.Equal(t, want, apis[key].Range, apiName(key))
	}
	require.Equal(t, int16(3), apis[keyProduce].floor)
	for _, key := range []int16{4, 5, 6, 7, 34, 52, 56, 58, 67, 76, 77, 78, 79, 83, 84, 85, 86, 87, 90, 91, 92} {
		require.NotContains(t, apis, key)
	}
	for _, key := range ofNodes {
		_, served := newRig(t, 1, Config{}).server.versions[key]
		require.Equal(t, onNodes(t), served, "brokers that share a store are removed by their process, and have no quorum")
	}
}

// ApiVersions of a version that is too new is answered in version 0, with a header of version 0 and the range of ApiVersions
// alone, so that any client can read it and ask again (KIP-511).
func TestUnknownVersionOfApiVersionsIsAnsweredInVersion0(t *testing.T) {
	r := newRig(t, 1, Config{})
	for _, version := range []int16{5, 6, 99, -1} {
		frame := wire.AppendHeader(nil, wire.Header{Key: keyApiVersions, Version: version, Correlation: 7}, version >= 3)
		reply, err := r.session(1).Frame(t.Context(), append(frame, 0xff, 0xff, 0xff))
		require.NoError(t, err)
		require.Equal(t, []byte{0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4}, reply.Buf[4:])
	}
}

func TestApiVersionsTellsWhatIsServed(t *testing.T) {
	r := newRig(t, 1, Config{Versions: map[int16]Range{keyFetch: {0, 12}, keyMetadata: {5, 99}, keyDeleteRecords: {1, 0}}})
	for _, v := range versionsOf(keyApiVersions) {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "franz-go", "1.22.2"
		s := r.session(1)
		resp := put[*kmsg.ApiVersionsResponse](r, s, v, req)
		require.Zero(t, resp.ErrorCode)
		got := map[int16]Range{}
		for _, k := range resp.ApiKeys {
			got[k.ApiKey] = Range{k.MinVersion, k.MaxVersion}
		}
		require.Equal(t, r.server.versions, got)
		require.Equal(t, []any{Range{4, 12}, Range{5, 13}}, []any{got[keyFetch], got[keyMetadata]})
		require.NotContains(t, got, keyDeleteRecords)
		if v >= 3 {
			require.Equal(t, []string{"franz-go", "1.22.2"}, []string{s.software, s.softwareVersion})
		}
	}
	_, err := try(t.Context(), r.session(1), 18, kmsg.NewPtrFetchRequest())
	require.ErrorIs(t, err, ErrUnsupportedVersion)
}

func TestApiVersionsRefusesNamesOfClientsThatBreakTheRule(t *testing.T) {
	r := newRig(t, 1, Config{})
	for name, want := range map[string]int16{"": 42, "a": 0, "a-b.c": 0, "-a": 42, "a-": 42, "a b": 42, ".": 42, "ä": 42, "apache-kafka-java": 0} {
		for _, v := range []int16{3, 4} {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = name, "1.0"
			require.Equal(t, want, put[*kmsg.ApiVersionsResponse](r, r.session(1), v, req).ErrorCode, "%q", name)
			req.ClientSoftwareName, req.ClientSoftwareVersion = "x", name
			require.Equal(t, want, put[*kmsg.ApiVersionsResponse](r, r.session(1), v, req).ErrorCode, "%q", name)
		}
	}
}

// A body that does not decode closes the connection, with a reason.
func TestMalformedRequestsCloseTheConnection(t *testing.T) {
	r := newRig(t, 1, Config{})
	for key, a := range apis {
		if _, served := r.server.versions[key]; !served || key == keyApiVersions {
			continue
		}
		for v := a.floor; v <= a.Max; v++ {
			frame := wire.AppendHeader(nil, wire.Header{Key: key, Version: v}, flexible(key, v))
			req := kmsg.RequestForKey(key)
			req.SetVersion(v)
			body := req.AppendTo(nil)
			if len(body) == 0 {
				continue
			}
			_, err := r.session(1).Frame(t.Context(), append(frame, body[:len(body)-1]...))
			if key != keySASLHandshake && key != keySASLAuthenticate {
				require.ErrorIs(t, err, ErrMalformedRequest, "%s %d", a.name, v)
			}
		}
	}
	_, err := r.session(1).Frame(t.Context(), []byte{0, 1})
	require.ErrorIs(t, err, wire.ErrHeader)
}

// The client id and correlation id of the frame reach the handler, and tagged fields in its header do no harm.
func TestHeadersWithTagsAndNullClientIDs(t *testing.T) {
	r := newRig(t, 1, Config{})
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	frame := binary.BigEndian.AppendUint16(nil, uint16(keyMetadata))
	frame = binary.BigEndian.AppendUint16(frame, 12)
	frame = append(frame, 1, 2, 3, 4)             // correlation id
	frame = append(frame, 0xff, 0xff)             // client id: null
	frame = append(frame, 1, 5, 3, 'a', 'b', 'c') // one tagged field
	s := r.session(1)
	reply, err := s.Frame(t.Context(), append(frame, req.AppendTo(nil)...))
	require.NoError(t, err)
	require.Equal(t, []byte{1, 2, 3, 4, 0}, reply.Buf[4:9])
	require.Empty(t, s.call.clientID)
}
