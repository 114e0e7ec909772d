package records

import (
	"fmt"
	"strings"

	"github.com/casemate-dev/casemate/internal/coordinator/model"
)

// Prefixes of the keys, one per kind of record.
const (
	ContainerPrefix   = "containers/"
	UIDPrefix         = "uids/"
	UpdatePrefix      = "updates/"
	RevisionPrefix    = "revisions/"
	ReservationPrefix = "reservations/"
	RoutePrefix       = "routes/"
	HostPrefix        = "hosts/"
	MachinePrefix     = "machines/"
	SecretPrefix      = "secrets/"
	SecretValuePrefix = "secretvalues/"
	EventPrefix       = "events/"
	RequestPrefix     = "requests/"
	GatewayPrefix     = "gateways/"
	clusterKey        = "meta/cluster"
	epochKey          = "meta/epoch"
)

// ContainerKey is the key of a container's record.
func ContainerKey(k model.ContainerKey) string { return ContainerPrefix + k.String() }

func uidKey(uid string) string { return UIDPrefix + uid }

// UpdatesOf is the prefix of a container's updates.
func UpdatesOf(k model.ContainerKey) string { return UpdatePrefix + k.String() + "/" }

func updateKey(k model.ContainerKey, number int64) string {
	return fmt.Sprintf("%s%010d", UpdatesOf(k), number)
}

// updateKeyByID finds the key in an update's id, <container>-u<number>.
func updateKeyByID(k model.ContainerKey, id string) (string, bool) {
	digits, ok := strings.CutPrefix(id, k.Name+"-u")
	if !ok {
		return "", false
	}
	var n int64
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || n < 1 || fmt.Sprint(n) != digits {
		return "", false
	}
	return updateKey(k, n), true
}

// RevisionsPrefix is the prefix of a container's revisions.
func RevisionsPrefix(k model.ContainerKey) string { return revisionsOf(k) }

func revisionsOf(k model.ContainerKey) string { return RevisionPrefix + k.String() + "/" }

func revisionKey(k model.ContainerKey, number int64) string {
	return fmt.Sprintf("%s%010d", revisionsOf(k), number)
}

func reservationsOf(k model.ContainerKey) string { return ReservationPrefix + k.String() + "/" }

func reservationKey(r model.Reservation) string {
	return ReservationPrefix + r.Org + "/" + r.Container + "/" + r.Enclave
}

// RouteKey is the key of a domain's route.
func RouteKey(domain string) string { return RoutePrefix + domain }

// HostKey is the key of a host.
func HostKey(name string) string { return HostPrefix + name }

// MachineKey is the key of what is known of a host's machine.
func MachineKey(host string) string { return MachinePrefix + host }

// SecretKey is the key of a secret's record, without its values.
func SecretKey(org, name string) string { return SecretPrefix + org + "/" + name }

// SecretValueKey is the key of one version of a secret's encrypted value.
func SecretValueKey(org, name string, version int64) string {
	return fmt.Sprintf("%s%010d", SecretValuesOf(org, name), version)
}

// SecretValuesOf is the prefix of a secret's encrypted values.
func SecretValuesOf(org, name string) string { return SecretValuePrefix + org + "/" + name + "/" }

// EventsOf is the prefix of a container's events.
func EventsOf(k model.ContainerKey) string { return EventPrefix + k.String() + "/" }

func eventKey(k model.ContainerKey, number int64) string {
	return fmt.Sprintf("%s%010d", EventsOf(k), number)
}

// RequestKey is the key under which a request id is remembered.
func RequestKey(org, id string) string { return RequestPrefix + org + "/" + id }

// GatewayKey is the key of a gateway.
func GatewayKey(name string) string { return GatewayPrefix + name }

// UpdateID returns the id of the update that has this key.
func UpdateID(key string) string {
	parts := strings.Split(key, "/")
	if len(parts) != 4 {
		return ""
	}
	return parts[2] + "-u" + strings.TrimLeft(parts[3], "0")
}
