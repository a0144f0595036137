package peer

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire/memnet"
)

func TestWhoIsAtAnAddressIsDiscoveredWithoutAWordToAnybody(t *testing.T) {
	for _, tls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n, a := memnet.New(), authority(t)
			one, two := plain(t, n, 1), plain(t, n, 2)
			if tls {
				one.Plaintext, one.TLS = false, issue(t, a, testCluster, 1)
				two.Plaintext, two.TLS = false, issue(t, a, testCluster, 2)
			}
			var first, second diary
			one.Events, two.Events = first.events(), second.events()
			e := listen(t, one)
			listen(t, two)
			id, err := e.Discover(t.Context(), "node-2:1")
			require.NoError(t, err)
			require.EqualValues(t, 2, id.NodeID)
			_, err = e.Discover(t.Context(), "node-1:1")
			require.ErrorIs(t, err, ErrDuplicateNode, "it is this node")
			synctest.Wait()
			require.Empty(t, first.entries)
			require.Empty(t, second.entries)
		})
	}
}

func TestWhoIsDiscoveredHasToProveIt(t *testing.T) {
	a := authority(t)
	for name, c := range map[string]struct {
		want   error
		change func(two *Config)
	}{
		"another cluster":         {ErrWrongCluster, func(two *Config) { two.Identity.ClusterID = "another" }},
		"another node's":          {ErrCertificate, func(two *Config) { two.TLS = issue(t, a, testCluster, 7) }},
		"another authority":       {ErrCertificate, func(two *Config) { two.TLS = issue(t, authority(t), testCluster, 2) }},
		"another cluster's, even": {ErrCertificate, func(two *Config) { two.TLS = issue(t, a, "another", 2) }},
	} {
		t.Run(name, func(t *testing.T) {
			n := memnet.New()
			two := secure(t, n, 2, a)
			c.change(&two)
			listen(t, two)
			_, err := listen(t, secure(t, n, 1, a)).Discover(t.Context(), "node-2:1")
			require.ErrorIs(t, err, c.want)
		})
	}
	n := memnet.New()
	_, err := listen(t, secure(t, n, 1, a)).Discover(t.Context(), "node-2:1")
	require.Error(t, err)
}
