"""SEG and SR go to a real PACS and come back, by both doors; trouble is one clear line."""

import copy
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading

import numpy as np
import pydicom
import pytest
from clinical_samples import SIGNED, findings_in
from made_dicom import series, write
from orthanc_server import free_ports, running_orthanc

from MedDetectLib.cases.clinical.export import export_clinical
from MedDetectLib.cases.clinical.pacs import Query, dicom_files, open_pacs
from MedDetectLib.cases.clinical.reference import read_reference
from MedDetectLib.cases.image_files import read_volume
from MedDetectLib.core.errors import InputError, StoreError

DOORS = ["to", "web"]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    pytest.importorskip("pynetdicom", reason="the extra 'pacs' is not installed")
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def exported(tmp_path, request):
    """An export of its own study for every test."""
    from MedDetectLib.cases.clinical.identity import uid_from

    study = uid_from("study", request.node.name)
    uid = uid_from("series", request.node.name)
    images = series(4, StudyInstanceUID=study, SeriesInstanceUID=uid, PatientID="P7")
    folder = write(tmp_path / "ct", images)
    volume = read_volume(folder)
    return volume, export_clinical(findings_in(volume), folder, tmp_path / "out", reader=SIGNED)


def door(orthanc, name, **options):
    return open_pacs(**{name: getattr(orthanc, name)}, **options)


@pytest.mark.parametrize("name", DOORS)
def test_what_is_sent_is_there_is_found_and_comes_back_as_it_was(name, orthanc, exported, tmp_path):
    volume, made = exported
    pacs = door(orthanc, name)
    sent = pacs.push(made.files)
    assert sent.files == made.files
    assert {made.seg_uid, made.sr_uid} <= set(orthanc.instances)
    study = volume.source["study_instance_uid"]
    found = pacs.find(Query("series", study=study))
    assert sorted(one.modality for one in found) == ["SEG", "SR"]
    assert {one.study for one in found} == {study}
    (only,) = pacs.find(Query("series", study=study, modality="SEG"))
    (instance,) = pacs.find(Query("instance", study=study, series=only.series))
    assert instance.instance == made.seg_uid
    assert study in [one.study for one in pacs.find(Query("study", patient="P7"))]
    files = pacs.fetch(Query("study", study=study), tmp_path / "back")
    assert {path.stem for path in files} == {made.seg_uid, made.sr_uid}
    for path in files:
        before = made.seg if path.stem == made.seg_uid else made.sr
        assert pydicom.dcmread(path) == pydicom.dcmread(before)
    back = read_reference(tmp_path / "back" / f"{made.seg_uid}.dcm", volume).findings()
    np.testing.assert_array_equal(
        back.label_map, read_reference(made.seg, volume).findings().label_map
    )


@pytest.mark.parametrize("name", DOORS)
def test_sending_again_changes_nothing(name, orthanc, exported):
    _, made = exported
    pacs = door(orthanc, name)
    pacs.push(made.files)
    before = orthanc.instances
    pacs.push(made.files)
    assert orthanc.instances == before


@pytest.mark.parametrize("name", DOORS)
def test_one_series_or_instance_is_fetched_alone(name, orthanc, exported, tmp_path):
    volume, made = exported
    pacs = door(orthanc, name)
    pacs.push(made.files)
    study = volume.source["study_instance_uid"]
    (seg,) = pacs.find(Query("series", study=study, modality="SEG"))
    query = Query("instance", study=study, series=seg.series, instance=made.seg_uid)
    (file,) = pacs.fetch(query, tmp_path / "one")
    assert file.stem == made.seg_uid
    (file,) = pacs.fetch(Query("series", study=study, series=seg.series), tmp_path / "two")
    assert file.stem == made.seg_uid


@pytest.mark.parametrize("name", DOORS)
def test_nothing_of_the_kind_is_an_empty_list_and_nothing_to_fetch(name, orthanc, tmp_path):
    pacs = door(orthanc, name)
    assert pacs.find(Query("series", study="1.2.3.99")) == []
    with pytest.raises(InputError) as caught:
        pacs.fetch(Query("study", study="1.2.3.99"), tmp_path / "none")
    assert caught.value.code == "no-match"
    with pytest.raises(InputError) as caught:
        pacs.fetch(Query("study"), tmp_path / "none")
    assert caught.value.code == "no-study"


# --- trouble ---------------------------------------------------------------------------


def trouble(pacs, files):
    with pytest.raises(StoreError) as caught:
        pacs.push(files)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_wrong_ae_title_is_named(orthanc, exported):
    pacs = open_pacs(to=orthanc.to.replace("ORTHANC", "OTHER"))
    error = trouble(pacs, exported[1].files)
    assert (error.code, error.exit_code) == ("pacs-rejected", 69)
    assert "Called AE title not recognised" in error.what


def test_nobody_there_is_told_from_silence(exported):
    files = exported[1].files
    (port,) = free_ports(1)
    for address in ({"to": f"127.0.0.1:{port}/X"}, {"web": f"http://127.0.0.1:{port}"}):
        error = trouble(open_pacs(**address, timeout_s=2), files)
        assert (error.code, error.exit_code) == ("pacs-unreachable", 69)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for address in ({"to": f"127.0.0.1:{port}/X"}, {"web": f"http://127.0.0.1:{port}"}):
            error = trouble(open_pacs(**address, timeout_s=0.5), files)
            assert (error.code, error.exit_code) == ("pacs-timeout", 69)


def test_a_service_that_is_none_is_told(orthanc, exported):
    pacs = open_pacs(web=f"http://127.0.0.1:{orthanc.http_port}/nothing-here")
    error = trouble(pacs, exported[1].files)
    assert (error.code, error.exit_code) == ("pacs-partly", 74)
    assert "2 of 2" in error.what
    assert "HTTP 404" in error.what


def test_objects_that_were_not_taken_are_counted_and_the_others_stay(exported):
    """A PACS that has no room for reports."""
    pynetdicom = pytest.importorskip("pynetdicom")
    from pynetdicom import evt
    from pynetdicom.sop_class import Comprehensive3DSRStorage, SegmentationStorage

    stored = []

    def answer(event):
        if event.request.AffectedSOPClassUID == Comprehensive3DSRStorage:
            return 0xA700
        stored.append(event.request.AffectedSOPInstanceUID)
        return 0

    ae = pynetdicom.AE("FULL")
    for kind in (SegmentationStorage, Comprehensive3DSRStorage):
        ae.add_supported_context(kind)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)]
    )
    try:
        port = server.socket.getsockname()[1]
        made = exported[1]
        error = trouble(open_pacs(to=f"127.0.0.1:{port}/FULL"), made.files)
    finally:
        server.shutdown()
    assert (error.code, error.exit_code) == ("pacs-partly", 74)
    assert error.what.startswith("1 of 2 objects were not stored, first sr.dcm: status 0xA700")
    assert stored == [made.seg_uid]


def test_a_kind_of_object_the_pacs_does_not_know_is_told(exported):
    pynetdicom = pytest.importorskip("pynetdicom")
    from pynetdicom.sop_class import SegmentationStorage

    ae = pynetdicom.AE("OLD")
    ae.add_supported_context(SegmentationStorage)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False,
        evt_handlers=[(pynetdicom.evt.EVT_C_STORE, lambda event: 0)],
    )  # fmt: skip
    try:
        port = server.socket.getsockname()[1]
        error = trouble(open_pacs(to=f"127.0.0.1:{port}/OLD"), exported[1].files)
    finally:
        server.shutdown()
    assert error.code == "pacs-partly"
    assert "1 of 2" in error.what


def test_a_service_that_wants_a_password_is_told_and_gets_it(exported):
    """A service that answers only who is let in."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    seen = []

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            allowed = seen[-1] in ("Basic bWU6c2VjcmV0", "Bearer token")
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Type", "application/dicom+json")
            self.end_headers()
            if allowed:
                self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Guard) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        web = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(StoreError) as caught:
            open_pacs(web=web).find(Query())
        assert (caught.value.code, caught.value.exit_code) == ("pacs-rejected", 69)
        assert open_pacs(web=web, login=("me", "secret")).find(Query()) == []
        assert open_pacs(web=web, token="token").find(Query()) == []
        server.shutdown()
        thread.join(10)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        {}, {"to": "a:1/B", "web": "http://x"}, {"to": "host/AET"}, {"to": "host:0/AET"},
        {"to": "host:104"}, {"to": f"host:104/{'A' * 17}"}, {"web": "host:8042"},
        {"web": "http://me:secret@host"}, {"web": "http://[::1"},
        {"to": "host:104/A", "calling": ""},
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError) as caught:
        open_pacs(**address)
    assert caught.value.code == "bad-address"


def test_only_dicom_files_are_sent(tmp_path):
    with pytest.raises(InputError):
        dicom_files([tmp_path])
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(InputError):
        dicom_files([tmp_path / "notes.txt"])
    write(tmp_path / "ct", series(2))
    assert len(dicom_files([tmp_path])) == 2


def test_a_file_that_cannot_be_read_does_not_keep_the_others_back(orthanc, exported, tmp_path):
    _, made = exported
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(made.sr.read_bytes()[:1500])
    for name in DOORS:
        error = trouble(door(orthanc, name), [cut, *made.files])
        assert (error.code, error.exit_code) == ("pacs-partly", 74)
        assert error.what.startswith("1 of 3 objects were not stored, first cut.dcm: ")
    assert {made.seg_uid, made.sr_uid} <= set(orthanc.instances)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_an_object_with_a_path_for_a_name_is_written_nowhere(exported, tmp_path):
    """A PACS that means harm, or has a broken database."""
    pynetdicom = pytest.importorskip("pynetdicom")
    from pynetdicom import evt
    from pynetdicom.sop_class import (
        SegmentationStorage,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    )

    bad = pydicom.dcmread(exported[1].seg)
    with pydicom.config.disable_value_validation():
        bad.SOPInstanceUID = "../../evil"
        bad.file_meta.MediaStorageSOPInstanceUID = "../../evil"

    def found(event):
        yield 0xFF00, event.identifier

    def given(event):
        yield 1
        yield 0xFF00, bad

    ae = pynetdicom.AE("EVIL")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    ae.add_supported_context(SegmentationStorage, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_C_FIND, found), (evt.EVT_C_GET, given)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    out = tmp_path / "a" / "b"
    try:
        pacs = open_pacs(to=f"127.0.0.1:{server.socket.getsockname()[1]}/EVIL")
        with pytest.raises(StoreError) as caught:
            pacs.fetch(Query("study", study="1.2.3"), out)
    finally:
        server.shutdown()
    assert (caught.value.code, caught.value.exit_code) == ("pacs-failed", 74)
    assert "no UID" in caught.value.what
    assert not list(tmp_path.rglob("evil*"))


class Service:
    """A DICOMweb service that lists one match at a time, and fails to give the second."""

    def __init__(self, made, *, tls=None):
        from http.server import BaseHTTPRequestHandler, HTTPServer

        self.seen = seen = []
        instance = made.seg.read_bytes()
        rows = [
            {
                "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
                "0020000E": {"vr": "UI", "Value": ["1.2.3.4"]},
                "00080018": {"vr": "UI", "Value": [uid]},
            }
            for uid in ("1.2.3.4.1", "1.2.3.4.2")
        ]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.headers.get("Authorization"))
                if not self.path.endswith(("4.1", "4.2")):
                    self.answer("application/dicom+json", json.dumps(self.page()).encode())
                elif self.path.endswith("4.1"):
                    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + instance
                    kind = 'multipart/related; type="application/dicom"; boundary=b'
                    self.answer(kind, body + b"\r\n--b--")
                else:
                    self.send_error(404)

            def page(self):
                offset = re.search(r"offset=(\d+)", self.path)
                return rows[int(offset[1]) if offset else 0 :][:1]

            def answer(self, kind, body):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


def test_what_came_of_a_fetch_by_web_is_kept_and_what_did_not_is_counted(exported, tmp_path):
    with Service(exported[1]) as service:
        pacs = open_pacs(web=f"http://127.0.0.1:{service.server.server_port}")
        with pytest.raises(StoreError) as caught:
            pacs.fetch(Query("study", study="1.2.3"), tmp_path / "back")
    assert (caught.value.code, caught.value.exit_code) == ("pacs-partly", 74)
    assert "1 of 2 objects were not fetched, first 1.2.3.4.2" in caught.value.what
    assert "HTTP 404" in caught.value.what
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["1.2.3.4.1.dcm"]


def test_a_service_is_trusted_by_the_certificate_that_is_given(exported, tmp_path, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "key.pem"))  # not the one to trust
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
         certificate, "-days", "2", "-subj", "/CN=pacs", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with Service(exported[1], tls=(certificate, key)) as service:
        web = f"https://127.0.0.1:{service.server.server_port}"
        with pytest.raises(StoreError) as caught:
            open_pacs(web=web).find(Query("instance", study="1.2.3"))
        pacs = open_pacs(web=web, ca=certificate, token="s3cret")
        assert len(pacs.find(Query("instance", study="1.2.3"))) == 2
        assert set(service.seen) == {"Bearer s3cret"}
    assert (caught.value.code, caught.value.exit_code) == ("pacs-unreachable", 69)
    assert "--ca" in caught.value.todo
    assert "s3cret" not in repr(pacs)
    with pytest.raises(InputError):
        open_pacs(web=web, ca=tmp_path / "none")


def test_a_netrc_does_not_take_the_tokens_place(exported, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Service(exported[1]) as service:
        web = f"http://127.0.0.1:{service.server.server_port}"
        open_pacs(web=web, token="s3cret").find(Query("instance", study="1.2.3"))
    assert set(service.seen) == {"Bearer s3cret"}


def test_a_page_to_log_in_is_no_answer(exported, monkeypatch):
    monkeypatch.setattr(json, "dumps", lambda _: "<html>please log in</html>")
    with Service(exported[1]) as service:
        web = f"http://127.0.0.1:{service.server.server_port}"
        with pytest.raises(StoreError) as caught:
            open_pacs(web=web).find(Query("instance", study="1.2.3"))
    assert (caught.value.code, caught.value.exit_code) == ("pacs-failed", 74)
    assert "cannot be understood" in caught.value.what


def test_a_strict_pacs_gives_a_study_whole_whatever_kinds_of_objects_it_holds(exported, tmp_path):
    """It lists objects series by series only, and the study holds what we never wrote."""
    pynetdicom = pytest.importorskip("pynetdicom")
    from pynetdicom import evt
    from pynetdicom.sop_class import (
        SecondaryCaptureImageStorage,
        SegmentationStorage,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    )

    seg = pydicom.dcmread(exported[1].seg)
    study = seg.StudyInstanceUID
    (screen,) = series(1, sop_class=SecondaryCaptureImageStorage, StudyInstanceUID=study,
                       SeriesInstanceUID="1.2.3.77", Modality="OT")  # fmt: skip
    held = [seg, screen]
    wrong = []

    def found(event):
        asked = event.identifier
        wanted = asked.get("SeriesInstanceUID")
        if asked.QueryRetrieveLevel == "IMAGE" and not wanted:
            wrong.append(asked)
            yield 0xA900, None
            return
        for one in held:
            if wanted in (None, "", one.SeriesInstanceUID):
                answer = copy.deepcopy(asked)
                for element in answer:
                    if element.keyword in one:
                        element.value = one[element.keyword].value
                yield 0xFF00, answer

    def given(event):
        yield len(held)
        for one in held:
            yield 0xFF00, one

    ae = pynetdicom.AE("STRICT")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    for kind in (SegmentationStorage, SecondaryCaptureImageStorage):
        ae.add_supported_context(kind, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_C_FIND, found), (evt.EVT_C_GET, given)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        pacs = open_pacs(to=f"127.0.0.1:{server.socket.getsockname()[1]}/STRICT")
        files = pacs.fetch(Query("study", study=study), tmp_path / "back")
    finally:
        server.shutdown()
    assert {path.stem for path in files} == {one.SOPInstanceUID for one in held}
    assert wrong == []
