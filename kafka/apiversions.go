package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// handleApiVersions tells what is served (KIP-35, KIP-511). A version that is not known is answered in version 0, with the
// range of this API alone: the client asks again.
func handleApiVersions(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	served := s.server.versions
	if r := served[keyApiVersions]; c.version < r.Min || c.version > r.Max {
		resp.ErrorCode = codeUnsupportedVersion
		resp.ApiKeys = append(resp.ApiKeys, apiKey(keyApiVersions, r))
		return resp, nil
	}
	resp.SetVersion(c.version)
	if c.version >= 3 {
		if !validSoftware(req.ClientSoftwareName) || !validSoftware(req.ClientSoftwareVersion) {
			resp.ErrorCode = codeInvalidRequest
			return resp, nil
		}
		s.software, s.softwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
	}
	resp.ApiKeys = make([]kmsg.ApiVersionsResponseApiKey, 0, len(served))
	for _, key := range s.server.keys {
		resp.ApiKeys = append(resp.ApiKeys, apiKey(key, served[key]))
	}
	s.server.features(resp, c.version)
	s.versioned()
	return resp, nil
}

func apiKey(key int16, r Range) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = key, r.Min, r.Max
	return k
}

// validSoftware is the rule of KIP-511 for names and versions of clients: letters and digits, and within them '-' and '.'.
func validSoftware(name string) bool {
	for i := range len(name) {
		b := name[i]
		alphanumeric := b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if !alphanumeric && (b != '-' && b != '.' || i == 0 || i == len(name)-1) {
			return false
		}
	}
	return name != ""
}
