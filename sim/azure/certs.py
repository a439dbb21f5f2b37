# SPDX-License-Identifier: Apache-2.0
"""The port's certificate: the configured one, or a self-signed one made with the openssl command."""
import os
import ssl
import subprocess

NAMES = ("localhost", "management.azure.com", "login.microsoftonline.com", "*.vault.azure.net",
         "*.blob.core.windows.net")


def make(folder, addresses):
    """folder/azure.pem and azure.key, its own CA; an existing pair is used again."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path, key_path = os.path.join(folder, "azure.pem"), os.path.join(folder, "azure.key")
    if not os.path.exists(path):
        san = ",".join([f"DNS:{n}" for n in NAMES] + [f"IP:{a}" for a in dict.fromkeys(["127.0.0.1", *addresses])])
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "3650",
                        "-subj", "/O=Simulated Azure/CN=azure.invalid", "-addext", f"subjectAltName={san}",
                        "-keyout", key_path, "-out", path], check=True, capture_output=True)
        os.chmod(key_path, 0o600)
    return path, key_path


def server_context(path, key_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def client_context(ca_file):
    """For the simulator's own calls to the storage emulator: verified when a CA is named."""
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
